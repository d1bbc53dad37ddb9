//! The same tests with the real provider's binary, where `HACTL_TEST_PROVIDERS` names a mirror that has it, as
//! `.ci/provider-mirror` makes one. GitHub's CI runs them.

use super::{CONTAINER, VM, examples, handed_on, terraform_test, tree::Tree, validate};

fn with_the_real_provider(test: impl Fn(&Tree)) {
    match Tree::real() {
        Some(tree) => test(&tree),
        None => println!("skipped: HACTL_TEST_PROVIDERS names no mirror with bpg/proxmox"),
    }
}

#[test]
fn modules_and_stacks_are_valid_for_the_real_provider() {
    with_the_real_provider(validate);
}

#[test]
fn tests_of_the_modules_pass_with_the_real_provider() {
    with_the_real_provider(terraform_test);
}

#[test]
fn stacks_hand_every_variable_on_with_the_real_provider() {
    with_the_real_provider(|tree| {
        for kind in [VM, CONTAINER] {
            tree.init(&kind.stack());
            assert_eq!(handed_on::wrong(tree, kind), Vec::<String>::new(), "{}", kind.name);
        }
    });
}

#[test]
fn examples_are_planned_by_the_real_provider() {
    with_the_real_provider(examples::plan_examples);
}
