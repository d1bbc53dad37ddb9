//! Words that were probably meant.

/// The one of `words` that `word` probably means.
#[must_use]
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    words
        .into_iter()
        .map(|candidate| {
            let likeness = strsim::normalized_damerau_levenshtein(word, candidate);
            // A shortened or extended word also counts: `mem` for `memory`, `postgresql` for `postgres`.
            let part = word.len() >= 3 && (candidate.contains(word) || word.starts_with(candidate));
            (if part { likeness.max(0.7) } else { likeness }, candidate)
        })
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word_is_suggested_only_if_similar() {
        let words = ["memory", "cores", "roles", "vm_name"];
        for (word, expected) in
            [("memroy", Some("memory")), ("mem", Some("memory")), ("core", Some("cores")), ("xyz", None)]
        {
            assert_eq!(nearest(word, words).as_deref(), expected, "{word}");
        }
    }
}
