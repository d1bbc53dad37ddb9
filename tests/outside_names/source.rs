//! The names that a source tree and its binary show to the outside.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use serde_json::Value;

/// A checkout and what was built from it.
pub(super) struct Source {
    pub(super) tree: PathBuf,
    pub(super) binary: PathBuf,
}

impl Source {
    pub(super) fn present() -> Self {
        Self { tree: env!("CARGO_MANIFEST_DIR").into(), binary: env!("CARGO_BIN_EXE_hactl").into() }
    }

    fn hactl(&self, args: &[&str]) -> String {
        let done = Command::new(&self.binary).args(args).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Commands, their flags (`=` where one takes a value), the place of each argument, and the words that either takes.
    pub(super) fn commands(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.command(&[], &mut names);
        // Hidden, but the shim that `hactl terraform install` has written starts it.
        self.command(&["terraform-provider"], &mut names);
        names
    }

    fn command(&self, words: &[&str], names: &mut BTreeSet<String>) {
        let path = ["hactl"].iter().chain(words).copied().collect::<Vec<_>>().join(" ");
        names.insert(path.clone());
        let (mut section, mut parameter, mut arguments) = (String::new(), String::new(), 0);
        for line in self.hactl(&[words, &["--help"][..]].concat()).lines() {
            let (text, indent) = (line.trim(), line.len() - line.trim_start().len());
            if indent == 0 && !text.is_empty() {
                section = text.to_owned();
            } else if let Some(choices) = text.strip_prefix("[possible values: ") {
                names.extend(choices.trim_end_matches(']').split(", ").map(|choice| format!("{parameter} {choice}")));
            } else if let (10, Some(choice)) = (indent, text.strip_prefix("- ")) {
                names.insert(format!("{parameter} {}", choice.split(':').next().unwrap()));
            } else if let ("Commands:", 2) = (section.as_str(), indent) {
                let below = text.split(' ').next().filter(|word| *word != "help");
                below.into_iter().for_each(|word| self.command(&[words, &[word][..]].concat(), names));
            } else if let ("Arguments:", 2) = (section.as_str(), indent) {
                arguments += 1;
                parameter = format!("{path}: argument {arguments}");
                names.insert(parameter.clone());
            } else if let ("Options:", 2..=6) = (section.as_str(), indent) {
                let (flags, value) = text.split_once(" <").map_or((text, ""), |(flags, _)| (flags, "="));
                for flag in flags.split(", ") {
                    parameter = format!("{path}: {flag}{value}");
                    names.insert(parameter.clone());
                }
            }
        }
    }

    /// The fields of the cluster file and of all that is written as JSON, and the words that they hold.
    pub(super) fn json(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let commands = self.commands();
        let shapes: Vec<&str> =
            commands.iter().filter_map(|name| name.strip_prefix("hactl schema: argument 1 ")).collect();
        for shape in shapes {
            let schema: Value = serde_json::from_str(&self.hactl(&["schema", shape])).unwrap();
            fields(&schema, &schema, shape, &mut Vec::new(), &mut names);
        }
        names
    }

    /// Blocks of the stacks and modules, the fields of their variables and outputs, and the provider's resources.
    pub(super) fn terraform(&self) -> BTreeSet<String> {
        let mut names = self.provider();
        for (file, text) in self.files("terraform") {
            let (true, Some(place)) = (file.ends_with(".tf"), file.rsplit_once('/').map(|(place, _)| place)) else {
                continue;
            };
            let (mut depth, mut head, mut section) = (0, String::new(), "");
            for line in text.lines().map(str::trim) {
                let mut rest = line;
                if depth == 0 {
                    head = line.split('{').next().unwrap().replace('"', "").trim().to_owned();
                    let kind = head.split(' ').next().unwrap();
                    if ["resource", "data", "module", "variable", "output"].contains(&kind) {
                        names.insert(format!("{place}: {head}"));
                    }
                } else if let (1, Some((key, value))) = (depth, line.split_once('=')) {
                    (section, rest) = (key.trim(), value);
                    if ["for_each", "count"].contains(&section) {
                        names.insert(format!("{place}: {head} {section}"));
                    }
                }
                if let ("variable", "type") | ("output", "value") = (head.split(' ').next().unwrap(), section) {
                    names.extend(keys(rest).iter().map(|key| format!("{place}: {head} {key}")));
                }
                depth += line.matches('{').count();
                depth -= line.matches('}').count();
            }
        }
        names
    }

    /// The attributes of the provider's resources, as its schemas list them.
    fn provider(&self) -> BTreeSet<String> {
        let literal = |text: &str| text.split('"').nth(1).unwrap().to_owned();
        let resources = self.files("src").into_iter().filter_map(|(_, text)| {
            let name = literal(text.split_once("fn type_name(&self) -> &'static str {")?.1);
            let attributes = text.split("Attribute::new(").skip(1);
            Some(attributes.map(|attribute| format!("{name}.{}", literal(attribute))).collect::<Vec<_>>())
        });
        resources.flatten().collect()
    }

    /// The text below `dir` without comments and without Rust's tests.
    pub(super) fn product(&self, dir: &str) -> String {
        let texts = self.files(dir).into_iter().map(|(file, text)| {
            let comment = if file.ends_with(".rs") { "//" } else { "#" };
            // A test module within the file is its end; after `mod tests;` the product goes on.
            let parts = text.split("\n#[cfg(test)]\n").enumerate();
            let is_product = |part: &str| part.lines().next().is_some_and(|line| line.ends_with(';'));
            let lines = parts.take_while(|(n, part)| *n == 0 || is_product(part)).flat_map(|(_, part)| part.lines());
            lines.filter(|line| !line.trim_start().starts_with(comment)).collect::<Vec<_>>().join("\n")
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The files below `dir`, without those of tests and pages, by their path in the tree.
    fn files(&self, dir: &str) -> Vec<(String, String)> {
        let entries = walkdir::WalkDir::new(self.tree.join(dir)).sort_by_file_name().into_iter().map(Result::unwrap);
        let text = |entry: walkdir::DirEntry| {
            let name = entry.path().strip_prefix(&self.tree).unwrap().display().to_string();
            let is_product = entry.file_type().is_file() && !name.contains("/tests") && !name.ends_with(".md");
            is_product.then(|| (name, fs::read_to_string(entry.path()).unwrap()))
        };
        entries.filter_map(text).collect()
    }
}

/// What `schema` says of the value at `path`. `within` are the definitions that it is part of.
fn fields(schema: &Value, root: &Value, path: &str, within: &mut Vec<String>, names: &mut BTreeSet<String>) {
    let properties = || schema["properties"].as_object().into_iter().flatten();
    // The variants of an enum have fields of their own: `event(warning).code`.
    let variant = properties().find_map(|(_, value)| value["const"].as_str());
    let path = &variant.map_or_else(|| path.to_owned(), |variant| format!("{path}({variant})"));
    if let Some(definition) = schema["$ref"].as_str().filter(|name| !within.iter().any(|outer| outer == name)) {
        within.push(definition.to_owned());
        fields(root.pointer(definition.trim_start_matches('#')).unwrap(), root, path, within, names);
        within.pop();
    }
    let all = |key: &str| schema[key].as_array().into_iter().flatten();
    let words = all("enum").chain(schema.get("const")).filter_map(Value::as_str);
    names.extend(words.map(|word| format!("{path} = {word}")));
    for part in ["anyOf", "oneOf", "allOf"].into_iter().flat_map(all) {
        fields(part, root, path, within, names);
    }
    for item in all("prefixItems").chain(schema.get("items")) {
        fields(item, root, &format!("{path}[]"), within, names);
    }
    let patterns = schema["patternProperties"].as_object().into_iter().flat_map(serde_json::Map::values);
    for value in patterns.chain(schema.get("additionalProperties")) {
        fields(value, root, &format!("{path}.KEY"), within, names);
    }
    for (key, value) in properties() {
        let path = format!("{path}.{key}");
        fields(value, root, &path, within, names);
        names.insert(path);
    }
}

/// The words to which a line of HCL assigns something.
fn keys(line: &str) -> Vec<&str> {
    let parts: Vec<&str> = line.split('=').collect();
    let assigns = parts.windows(2).filter(|pair| !pair[0].ends_with(['!', '<', '>']) && !pair[1].starts_with('>'));
    let word = |text: &'_ str| text.trim_end().rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    assigns.map(|pair| pair[0][word(pair[0])..].trim_end()).filter(|word| !word.is_empty()).collect()
}
