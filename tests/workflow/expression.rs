//! The expressions of GitHub's that our workflow uses, and no more: what is unknown here is an error of the test.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Bool(bool),
}

impl Value {
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Bool(is) => *is,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bool(is) => is.to_string(),
        }
    }
}

/// What expressions may name, by its whole path: `inputs.action`.
pub(crate) struct Scope<'a> {
    pub(crate) names: &'a BTreeMap<String, String>,
    /// A step before has failed.
    pub(crate) failed: bool,
}

impl Scope<'_> {
    /// Replaces each `${{ ... }}` of a text.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, after) = after.split_once("}}").unwrap_or_else(|| panic!("not closed: {text}"));
            filled += before;
            filled += &self.value(expression).text();
            rest = after;
        }
        filled + rest
    }

    /// Whether a step or job with this `if` runs: without a word on the status only while all went well.
    pub(crate) fn allows(&self, condition: Option<&str>) -> bool {
        let Some(condition) = condition else { return !self.failed };
        let asks = ["always()", "cancelled()", "failure()", "success()"].iter().any(|call| condition.contains(call));
        (asks || !self.failed) && self.value(condition).is_true()
    }

    pub(crate) fn value(&self, expression: &str) -> Value {
        let mut parser = Parser { scope: self, tokens: tokens(expression), whole: expression };
        let value = parser.either();
        assert!(parser.tokens.is_empty(), "{expression}: left over: {:?}", parser.tokens);
        value
    }

    fn name(&self, name: &str) -> Value {
        match self.names.get(name) {
            Some(value) => Value::Text(value.clone()),
            // What was not given or not set is empty; an input that does not exist is a mistake of the workflow.
            None if name.starts_with("secrets.") || name.starts_with("steps.") => Value::Text(String::new()),
            None => panic!("{name} is nothing that the workflow has"),
        }
    }
}

/// Backwards, so that the next one is the last.
fn tokens(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = expression.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\n' => {}
            '(' | ')' | ',' => found.push(c.to_string()),
            '\'' => found.push(quoted(&mut chars, expression)),
            '!' if chars.peek() != Some(&'=') => found.push("!".to_owned()),
            '=' | '!' | '&' | '|' => found.push(format!("{c}{}", chars.next().expect("two characters"))),
            _ if c.is_ascii_alphanumeric() => {
                let mut word = c.to_string();
                while let Some(next) = chars.next_if(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)) {
                    word.push(next);
                }
                found.push(word);
            }
            _ => panic!("{expression}: {c:?} is not understood"),
        }
    }
    found.reverse();
    found
}

fn quoted(chars: &mut Peekable<Chars<'_>>, expression: &str) -> String {
    let mut text = "'".to_owned();
    loop {
        match chars.next() {
            Some('\'') if chars.next_if_eq(&'\'').is_none() => return text,
            Some(c) => text.push(c),
            None => panic!("{expression}: a text is not closed"),
        }
    }
}

struct Parser<'a> {
    scope: &'a Scope<'a>,
    tokens: Vec<String>,
    whole: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, wanted: &str) -> bool {
        let found = self.tokens.last().is_some_and(|token| token == wanted);
        if found {
            self.tokens.pop();
        }
        found
    }

    fn expect(&mut self, wanted: &str) {
        assert!(self.take(wanted), "{}: expected {wanted} before {:?}", self.whole, self.tokens.last());
    }

    fn either(&mut self) -> Value {
        let mut value = self.both();
        while self.take("||") {
            let other = self.both();
            value = if value.is_true() { value } else { other };
        }
        value
    }

    fn both(&mut self) -> Value {
        let mut value = self.equality();
        while self.take("&&") {
            let other = self.equality();
            value = if value.is_true() { other } else { value };
        }
        value
    }

    fn equality(&mut self) -> Value {
        let value = self.single();
        let is = |a: &Value, b: &Value| a.text().eq_ignore_ascii_case(&b.text());
        if self.take("==") {
            Value::Bool(is(&value, &self.single()))
        } else if self.take("!=") {
            Value::Bool(!is(&value, &self.single()))
        } else {
            value
        }
    }

    fn single(&mut self) -> Value {
        if self.take("!") {
            return Value::Bool(!self.single().is_true());
        }
        if self.take("(") {
            let value = self.either();
            self.expect(")");
            return value;
        }
        let word = self.tokens.pop().unwrap_or_else(|| panic!("{}: something is missing", self.whole));
        if let Some(text) = word.strip_prefix('\'') {
            return Value::Text(text.to_owned());
        }
        if !self.take("(") {
            return self.scope.name(&word);
        }
        let mut arguments = Vec::new();
        while !self.take(")") {
            arguments.push(self.either().text());
            self.take(",");
        }
        match (word.as_str(), &arguments[..]) {
            ("always", []) => Value::Bool(true),
            ("failure", []) => Value::Bool(self.scope.failed),
            ("success", []) => Value::Bool(!self.scope.failed),
            // Nobody cancels a test's run.
            ("cancelled", []) => Value::Bool(false),
            ("startsWith", [text, start]) => Value::Bool(text.starts_with(start.as_str())),
            _ => panic!("{}: {word}({arguments:?}) is not understood", self.whole),
        }
    }
}

#[test]
fn expressions_have_the_values_that_github_gives() {
    let names = [("inputs.a", "x"), ("inputs.b", "it's")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let names = BTreeMap::from(names);
    let fill = |failed, text: &str| Scope { names: &names, failed }.fill(text);
    assert_eq!(fill(false, "a ${{ inputs.a }} ${{ inputs.b == 'it''s' }}"), "a x true");
    assert_eq!(fill(false, "${{ secrets.none != '' && 'set' || 'unset' }}"), "unset");
    assert_eq!(fill(false, "${{ !cancelled() && (inputs.a != 'X' || startsWith(inputs.b, 'it')) }}"), "true");
    for (failed, condition, runs) in [
        (true, None, false),
        (true, Some("inputs.a == 'x'"), false),
        (true, Some("always() && inputs.a == 'x'"), true),
        (false, Some("failure()"), false),
        (false, Some("steps.run.outputs.record != ''"), false),
    ] {
        assert_eq!(Scope { names: &names, failed }.allows(condition), runs, "{condition:?}");
    }
    assert!(std::panic::catch_unwind(|| fill(false, "${{ inputs.c }}")).is_err());
}
