//! Phrases that neither messages nor pages use.

use std::{fs, path::PathBuf};

use super::{messages::MESSAGES, rules::root};

const PHRASES: &[&str] = &[
    "anew",
    "anybody",
    "are none of",
    "beyond measure",
    "by way of",
    "carries on",
    "holds it since",
    "is forgotten",
    "is none of",
    "is not content",
    "is yours to",
    "it was told to",
    "nobody",
    "nothing of",
    "of no worth",
    "of {} (run",
    "of {}@",
    "somebody",
    "stands",
    "takes no member out",
    "whoever",
    "would go on",
];

/// Whether `text` has `phrase` as whole words, in any case.
fn has(text: &str, phrase: &str) -> bool {
    let text = text.to_lowercase();
    text.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + phrase.len()..].chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// The phrases that `text` has.
fn phrases_of(text: &str) -> impl Iterator<Item = &'static str> {
    PHRASES.iter().copied().filter(move |phrase| has(text, phrase))
}

struct Page {
    name: String,
    lines: Vec<String>,
}

fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = vec![root().join("README.md")];
    paths.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    let pages = paths.iter().map(|path| {
        let text = fs::read_to_string(path).unwrap();
        let generated = text.contains("<!-- Generated from");
        let lines = if generated { text.lines().map(str::to_owned).collect() } else { prose(&text) };
        Page { name: path.file_name().unwrap().to_string_lossy().into_owned(), lines }
    });
    pages.collect()
}

/// The lines without what they quote from programs: code blocks and code in backquotes.
fn prose(text: &str) -> Vec<String> {
    let mut in_code = false;
    let lines = text.lines().map(|line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        if in_code || fence { String::new() } else { line.split('`').step_by(2).collect::<Vec<_>>().join("`") }
    });
    lines.collect()
}

#[test]
fn message_has_no_phrase_of_the_list() {
    assert!(MESSAGES.len() > 2000, "the messages were not found");
    let found = MESSAGES.iter().flat_map(|text| phrases_of(text).map(move |phrase| format!("{phrase}: {text}")));
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn page_has_no_phrase_of_the_list() {
    let pages = pages();
    assert!(pages.len() > 20, "the pages were not found");
    let mut found = Vec::new();
    for page in &pages {
        for (number, line) in page.lines.iter().enumerate() {
            found.extend(phrases_of(line).map(|phrase| format!("{}:{}: {phrase}: {line}", page.name, number + 1)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn phrase_is_found_as_whole_words_in_any_case() {
    assert!(has("Nobody answers", "nobody") && has("is `anew`", "anew"));
    assert!(!has("a renewal", "anew") && !has("standstill", "stands"));
    assert_eq!(prose("a `b` c\n```\ncode\n```\nd"), ["a ` c", "", "", "", "d"]);
}
