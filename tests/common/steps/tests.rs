//! A test with a failed or skipped step fails, and says which.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Done, Steps};

/// The message of a test that must fail.
fn failure(test: impl FnOnce(&mut Steps)) -> String {
    let run = || {
        let mut steps = Steps::new();
        test(&mut steps);
        steps.finish();
    };
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("the test passed");
    *panic.downcast::<String>().unwrap()
}

#[test]
fn steps_that_pass_let_the_test_pass_and_return_values() {
    let mut steps = Steps::new();
    let first = steps.step("first", || 2);
    let second = steps.needs(&first, "second", |value| value * 3);
    assert_eq!(second.value, Some(6));
    assert_eq!(steps.must("third", || "value"), "value");
    steps.finish();
}

#[test]
fn failed_step_fails_the_test_with_message_and_place_after_the_last_step() {
    let mut ran = false;
    let said = failure(|steps| {
        steps.step("first", || panic!("broken disk"));
        steps.step("second", || ran = true);
    });
    assert!(ran && said.starts_with("steps that did not pass: 1\n- first: "), "{said}");
    assert!(said.contains("broken disk") && said.contains("tests.rs:"), "{said}");
    assert!(!said.contains("second"), "{said}");
}

#[test]
fn two_failed_steps_are_both_listed() {
    let said = failure(|steps| {
        steps.step("first", || panic!("broken disk"));
        steps.step("second", || assert_eq!(1, 2));
    });
    assert!(said.starts_with("steps that did not pass: 2\n- first: "), "{said}");
    assert!(said.contains("broken disk") && said.contains("\n- second: ") && said.contains("left: 1"), "{said}");
}

#[test]
fn step_that_needs_a_failed_one_does_not_run_and_does_not_pass() {
    let mut ran = false;
    let said = failure(|steps| {
        let first: Done<()> = steps.step("first", || panic!("broken disk"));
        let second = steps.needs(&first, "second", |()| ran = true);
        steps.needs(&second, "third", |()| ());
    });
    assert!(!ran && said.starts_with("steps that did not pass: 3"), "{said}");
    assert!(said.contains("\n- second: not run: `first` did not pass"), "{said}");
    assert!(said.contains("\n- third: not run: `second` did not pass"), "{said}");
}

#[test]
fn failed_step_that_later_steps_need_ends_the_test_at_once() {
    let mut ran = false;
    let said = failure(|steps| {
        steps.must("first", || panic!("broken disk"));
        steps.step("second", || ran = true);
    });
    assert!(!ran, "{said}");
    assert_eq!(said, "the later steps need `first`, which failed");
}

#[test]
fn test_without_finish_fails_as_well() {
    let run = || {
        Steps::new().step("first", || panic!("broken disk"));
    };
    assert!(catch_unwind(run).is_err());
}

#[tokio::test]
async fn asynchronous_step_that_fails_after_waiting_is_recorded_and_the_next_runs() {
    let mut steps = Steps::new();
    let failed = steps.step_async("first", async {
        tokio::task::yield_now().await;
        panic!("broken disk");
    });
    let failed: Done<()> = failed.await;
    assert!(failed.value.is_none());
    assert_eq!(steps.step_async("second", async { 5 }).await.value, Some(5));
    let said = std::mem::take(&mut steps.not_passed);
    assert!(said.len() == 1 && said[0].contains("broken disk"), "{said:?}");
}
