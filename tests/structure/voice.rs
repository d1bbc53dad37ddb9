//! Phrases that neither messages nor pages use. Messages and generated pages still have some: the counts only go down.

use std::{fs, path::PathBuf};

use super::{messages::MESSAGES, rules::root};

/// A phrase, how many messages still have it, and how many lines of generated pages. Lower a count when you reword one.
const PHRASES: &[(&str, usize, usize)] = &[
    ("anew", 14, 0),
    ("anybody", 0, 0),
    ("are none of", 1, 0),
    ("beyond measure", 1, 0),
    ("by way of", 2, 0),
    ("carries on", 8, 0),
    ("holds it since", 3, 0),
    ("is forgotten", 1, 0),
    ("is none of", 4, 0),
    ("is not content", 1, 0),
    ("is yours to", 1, 0),
    ("it was told to", 1, 0),
    ("nobody", 9, 3),
    ("nothing of", 4, 0),
    ("of no worth", 1, 1),
    ("of {} (run", 1, 0),
    ("of {}@", 0, 0),
    ("somebody", 3, 0),
    ("stands", 1, 1),
    ("takes no member out", 3, 0),
    ("whoever", 2, 1),
    ("would go on", 1, 0),
];

/// Whether `text` has `phrase` as whole words, in any case.
fn has(text: &str, phrase: &str) -> bool {
    let text = text.to_lowercase();
    text.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + phrase.len()..].chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

struct Page {
    name: String,
    lines: Vec<String>,
    generated: bool,
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
        Page { name: path.file_name().unwrap().to_string_lossy().into_owned(), lines, generated }
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
fn phrases_in_messages_and_generated_pages_are_as_many_as_allowed() {
    let pages = pages();
    let generated: Vec<&String> = pages.iter().filter(|page| page.generated).flat_map(|page| &page.lines).collect();
    assert!(pages.len() > 20 && generated.len() > 500, "the pages were not found");
    let mut wrong = String::new();
    for (phrase, messages, lines) in PHRASES {
        let in_messages: Vec<&String> = MESSAGES.iter().filter(|text| has(text, phrase)).collect();
        let in_pages: Vec<&&String> = generated.iter().filter(|line| has(line, phrase)).collect();
        let found = (in_messages.len(), in_pages.len());
        if found != (*messages, *lines) {
            wrong += &format!("(\"{phrase}\", {}, {}),\n", found.0, found.1);
        }
        if found.0 > *messages {
            wrong += &format!("  reword one of the messages: {in_messages:#?}\n");
        }
        if found.1 > *lines {
            wrong += &format!("  reword one of the texts that the pages are generated from: {in_pages:#?}\n");
        }
    }
    assert!(wrong.is_empty(), "PHRASES differs from what was found:\n{wrong}");
}

#[test]
fn hand_written_page_has_no_phrase_of_the_list() {
    let mut found = Vec::new();
    for page in pages().iter().filter(|page| !page.generated) {
        for (number, line) in page.lines.iter().enumerate() {
            let phrases = PHRASES.iter().filter(|(phrase, ..)| has(line, phrase));
            found.extend(phrases.map(|(phrase, ..)| format!("{}:{}: {phrase}: {line}", page.name, number + 1)));
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
