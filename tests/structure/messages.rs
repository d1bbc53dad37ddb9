//! The message literals of `src`: every string with a space, outside of tests. messages.txt lists them, so that a change of
//! words is a diff that a reviewer reads. Help texts and field descriptions are doc comments: the generated pages list those.

use std::{collections::BTreeSet, env, fs, sync::LazyLock};

use proc_macro2::{Group, TokenStream, TokenTree};
use syn::{Item, visit::Visit};

use super::{
    rules::{CHECKOUT, root},
    tree::{self, is_for_tests},
    walk::attributes,
};

/// The decoded text of each.
pub(crate) static MESSAGES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let (tree, syntax) = tree::read(&|path| CHECKOUT.texts.get(path.to_str()?).cloned()).unwrap();
    let mut messages = Messages(BTreeSet::new());
    for (source, syntax) in tree.sources.iter().zip(&syntax).filter(|(source, _)| !tree.modules[source.module].test) {
        assert!(source.path.starts_with("src/"), "{} is outside of src", source.path);
        messages.visit_file(syntax);
    }
    messages.0
});

struct Messages(BTreeSet<String>);

impl Messages {
    /// The strings among the arguments of a macro or an attribute.
    fn scan(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) if is_doc(&group) => {}
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse2::<syn::LitStr>(TokenTree::Literal(literal).into()) {
                        self.visit_lit_str(&text);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Messages {
    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        if text.value().contains(' ') {
            self.0.insert(text.value());
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.scan(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
    }

    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }
}

/// Whether these are the brackets of `#[doc = ...]`, which a doc comment is within a macro.
fn is_doc(group: &Group) -> bool {
    matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(name)) if name == "doc")
}

/// The text as one line, quoted so that a space at its end shows.
fn line(text: &str) -> String {
    let escaped =
        text.chars().map(|c| if c.is_control() || c == '\\' { c.escape_default().to_string() } else { c.into() });
    format!("\"{}\"", escaped.collect::<String>())
}

#[test]
fn messages_are_those_of_the_snapshot() {
    let path = root().join("tests/structure/messages.txt");
    let now: BTreeSet<String> = MESSAGES.iter().map(|text| line(text)).collect();
    assert!(now.len() > 1000, "the messages were not found");
    if env::var_os("HACTL_BLESS").is_some() {
        fs::write(&path, now.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let before: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let gone: Vec<String> = before.difference(&now).map(|line| format!("- {line}")).collect();
    let new: Vec<String> = now.difference(&before).map(|line| format!("+ {line}")).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "messages.txt differs from the messages of src; review the change, then run \
         `HACTL_BLESS=1 cargo test --package structure` to accept it:\n{}\n{}",
        gone.join("\n"),
        new.join("\n")
    );
}
