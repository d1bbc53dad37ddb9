//! Text -> tree of YAML nodes, each with its place in the file and, for scalars, the text as written.
//!
//! An own tree of the parser's events, because the ready-made loaders stop at the first duplicate
//! key and forget how a number was written (`3.10` and `3.1` are one float).

use std::collections::HashSet;

use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Parser, ScanError, Span, Tag};
use serde_json::{Map, Number, Value};

/// A place in the file; both count from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

#[derive(Debug)]
pub(super) struct YamlNode {
    pub(super) at: Position,
    pub(super) data: Data,
}

#[derive(Debug)]
pub(super) enum Data {
    Scalar { value: Value, text: String, plain: bool },
    List(Vec<YamlNode>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Position,
    pub(super) node: YamlNode,
}

/// What is wrong with the text as YAML.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) at: Position,
    pub(super) path: Vec<String>,
    pub(super) message: String,
}

/// Reads the one document of `text`. Returns the tree as far as it is valid.
pub(super) fn parse(text: &str) -> (Option<YamlNode>, Vec<Flaw>) {
    let mut builder = Builder::default();
    // Event by event: the parser's own loop calls itself for every level of depth.
    for event in Parser::new_from_str(text) {
        match event {
            Ok((_, span)) if builder.open.len() > DEEPEST => {
                builder.flaws.push(Flaw { at: position(span), path: vec![], message: "nested too deeply".into() });
                return (None, builder.flaws);
            }
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                builder.flaws.push(syntax(text, &error));
                return (None, builder.flaws);
            }
        }
    }
    (builder.root, builder.flaws)
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn syntax(text: &str, error: &ScanError) -> Flaw {
    let marker = error.marker();
    let at = Position { line: marker.line().max(1), column: marker.col() + 1 };
    // A tab in the indentation is a frequent reason, and parsers report something else.
    match text.lines().take(at.line).position(is_indented_by_tab) {
        Some(index) => {
            let at = Position { line: index + 1, column: 1 };
            Flaw { at, path: vec![], message: "a tab in the indentation: YAML allows only spaces".into() }
        }
        None => Flaw { at, path: vec![], message: format!("not valid YAML: {}", error.info()) },
    }
}

fn is_indented_by_tab(line: &str) -> bool {
    line.trim_start_matches(' ').starts_with('\t') && !line.trim().is_empty()
}

/// Deeper than any cluster file is, and shallow enough for every recursive walk.
const DEEPEST: usize = 64;

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<YamlNode>,
    flaws: Vec<Flaw>,
}

/// A collection whose end has not been seen.
struct Open {
    at: Position,
    what: Collection,
}

enum Collection {
    List(Vec<YamlNode>),
    Map { entries: Vec<Entry>, key: Option<(String, Position)>, seen: HashSet<String> },
}

impl Builder {
    fn flaw(&mut self, at: Position, message: impl Into<String>) {
        let path = self
            .open
            .iter()
            .filter_map(|open| match &open.what {
                Collection::List(items) => Some(items.len().to_string()),
                Collection::Map { key, .. } => key.as_ref().map(|(key, _)| key.clone()),
            })
            .collect();
        self.flaws.push(Flaw { at, path, message: message.into() });
    }

    fn add(&mut self, node: YamlNode) {
        let Some(open) = self.open.last_mut() else {
            if self.root.is_some() {
                self.flaw(node.at, "a second document: a cluster file is one YAML document");
            } else {
                self.root = Some(node);
            }
            return;
        };
        match &mut open.what {
            Collection::List(items) => items.push(node),
            Collection::Map { entries, key, seen } => match key.take() {
                Some((key, key_at)) => entries.push(Entry { key, key_at, node }),
                None => {
                    let at = node.at;
                    let Data::Scalar { text, .. } = node.data else {
                        *key = Some((String::new(), at));
                        return self.flaw(at, "a key must be a word, not a list or a map");
                    };
                    let fresh = seen.insert(text.clone());
                    *key = Some((text.clone(), at));
                    if !fresh {
                        self.flaw(at, format!("`{text}` is given twice"));
                    }
                }
            },
        }
    }

    /// A tag outside YAML's core schema asks a program for a value of its own, which hactl does not know.
    fn unknown_tag(&mut self, at: Position, tag: &Tag) {
        // `!` alone makes the value text.
        if !tag.is_yaml_core_schema() && !matches!((tag.handle.as_str(), tag.suffix.as_str()), ("", "!") | ("!", "")) {
            let message = format!("unknown YAML tag `{tag}`: write the value itself, without a tag");
            self.flaw(at, message);
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) {
        let at = position(span);
        if let Event::Scalar(_, _, _, Some(tag))
        | Event::SequenceStart(_, Some(tag))
        | Event::MappingStart(_, Some(tag)) = &event
        {
            self.unknown_tag(at, tag);
        }
        match event {
            Event::SequenceStart(..) => self.open.push(Open { at, what: Collection::List(Vec::new()) }),
            Event::MappingStart(..) => self
                .open
                .push(Open { at, what: Collection::Map { entries: Vec::new(), key: None, seen: HashSet::new() } }),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { at, what }) = self.open.pop() else { return };
                let data = match what {
                    Collection::List(items) => Data::List(items),
                    Collection::Map { entries, .. } => Data::Map(entries),
                };
                self.add(YamlNode { at, data });
            }
            Event::Scalar(text, style, _, tag) => {
                let plain = style == ScalarStyle::Plain;
                let value = match Scalar::parse_from_cow_and_metadata(text.clone(), style, tag.as_ref()) {
                    Some(Scalar::Null) => Value::Null,
                    Some(Scalar::Boolean(value)) => Value::Bool(value),
                    Some(Scalar::Integer(value)) => Value::Number(value.into()),
                    Some(Scalar::FloatingPoint(value)) => {
                        Number::from_f64(*value).map_or_else(|| Value::String(text.to_string()), Value::Number)
                    }
                    Some(Scalar::String(value)) => Value::String(value.into_owned()),
                    None => {
                        self.flaw(at, "the value does not fit its YAML tag");
                        Value::Null
                    }
                };
                self.add(YamlNode { at, data: Data::Scalar { value, text: text.into_owned(), plain } });
            }
            Event::Alias(_) => {
                self.flaw(at, "aliases (`*name`) are not supported: put common values into `defaults`");
                let data = Data::Scalar { value: Value::Null, text: String::new(), plain: true };
                self.add(YamlNode { at, data });
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
        }
    }
}

impl YamlNode {
    /// The value as JSON; of a key given twice the last one counts, the flaw being reported already.
    pub(super) fn to_json(&self) -> Value {
        match &self.data {
            Data::Scalar { value, .. } => value.clone(),
            Data::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Data::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The node at `path`, with the place of its key where it has one.
    pub(super) fn find(&self, path: &[impl AsRef<str>]) -> Option<(&Self, Position)> {
        let (mut node, mut key_at) = (self, self.at);
        for step in path {
            let step = step.as_ref();
            match &node.data {
                Data::Map(entries) => {
                    let entry = entries.iter().rev().find(|entry| entry.key == step)?;
                    (node, key_at) = (&entry.node, entry.key_at);
                }
                Data::List(items) => {
                    node = items.get(step.parse::<usize>().ok()?)?;
                    key_at = node.at;
                }
                Data::Scalar { .. } => return None,
            }
        }
        Some((node, key_at))
    }

    /// Where to point for `path`: its value, or the nearest thing around it that is there.
    pub(super) fn position(&self, path: &[impl AsRef<str>]) -> Position {
        (0..=path.len()).rev().find_map(|n| self.find(&path[..n])).map_or(Position::START, |(node, key_at)| match node
            .data
        {
            // An empty value has no place of its own worth pointing to, and a block map starts a line too late.
            Data::Scalar { value: Value::Null, .. } | Data::Map(_) | Data::List(_) => key_at,
            Data::Scalar { .. } => node.at,
        })
    }

    /// The text of an unquoted scalar, as written.
    pub(super) fn written(&self, path: &[impl AsRef<str>]) -> Option<&str> {
        match &self.find(path)?.0.data {
            Data::Scalar { text, plain: true, .. } => Some(text),
            _ => None,
        }
    }
}
