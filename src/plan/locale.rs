//! Locales are fixed when data is made: what a cluster that runs keeps, and what its file cannot change.

use std::collections::BTreeMap;

use super::{
    Plan, Settled,
    refusal::{Refusal, field},
};
use crate::{
    model::{DatabaseLocale, Locale, is_same_icu_locale},
    spec::Spec,
};

const WHAT: &str = "change the locale of";

/// The locale that `spec` gives a cluster that begins.
pub(super) fn of_new_cluster(spec: &Spec) -> Locale {
    let default = || Locale::new(Locale::DEFAULT, spec.postgres.major);
    spec.postgres.locale.clone().unwrap_or_else(default)
}

/// The locale of a cluster that runs, as `spec` asks for it; what runs where it asks for none, or for the same.
pub(super) fn settled(spec: &Spec, runs: &Settled) -> Locale {
    let has = runs.locale.clone().unwrap_or_else(Locale::of_earlier_releases);
    match &spec.postgres.locale {
        Some(asked) if asked.name != has.name => asked.clone(),
        _ => has,
    }
}

/// Whether the cluster has the locale that `plan` asks for.
pub(super) fn of_cluster(plan: &Plan, runs: &Settled) -> Result<(), Refusal> {
    let has = runs.locale.clone().unwrap_or_else(Locale::of_earlier_releases);
    match &plan.postgres.locale {
        Some(asked) if asked.name != has.name && plan.data_nodes().next().is_some() => Err(Refusal {
            code: "locale-fixed",
            what: WHAT,
            field: field(["postgres", "locale"]),
            message: format!(
                "the locale is fixed when the data is made: the cluster has `{}`, and the file asks for `{}`",
                has.name, asked.name
            ),
            hint: format!(
                "Set `postgres.locale: {}` or remove the line. For another locale, give a new database an `icu_locale`, or \
                 create a second cluster and move the data with a dump",
                has.name
            ),
        }),
        _ => Ok(()),
    }
}

/// Whether the databases that exist have the locales of ICU that `plan` asks for.
///
/// # Errors
/// The first database that has another one.
pub fn of_databases(plan: &Plan, found: &BTreeMap<String, DatabaseLocale>) -> Result<(), Refusal> {
    for (database, asked) in &plan.postgres.icu_locales {
        let has = match found.get(database.as_str()) {
            Some(DatabaseLocale::Icu(name)) if !is_same_icu_locale(name, asked) => format!("the ICU locale `{name}`"),
            Some(DatabaseLocale::Plain(locale)) => format!("`{}` and no ICU locale", locale.name),
            Some(DatabaseLocale::Icu(_)) | None => continue,
        };
        return Err(Refusal {
            code: "locale-fixed",
            what: WHAT,
            field: field(["postgres", "databases", database.as_str(), "icu_locale"]),
            message: format!(
                "the locale is fixed when a database is made: `{database}` has {has}, and the file asks for `{asked}`"
            ),
            hint: "Restore the line, or add a database with another name and this `icu_locale`, and move the data with a dump"
                .to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Choices, IcuLocales, LocaleProvider},
        plan::{decide, moves},
        spec,
    };

    fn plan(postgres: &str, settled: Option<&Settled>) -> Plan {
        let text = format!("instances: {{a: {{}}}}\npostgres: {{{postgres}}}");
        let spec = spec::load("t", text.as_bytes(), "t").unwrap();
        decide(&spec, &Choices { settled: settled.cloned(), ..Choices::default() }).unwrap()
    }

    fn locale(plan: &Plan) -> (String, LocaleProvider) {
        let locale = plan.postgres.locale.clone().unwrap();
        (locale.name, locale.provider)
    }

    #[test]
    fn new_cluster_gets_the_locale_of_its_file_and_one_that_runs_keeps_its_own() {
        let (libc, builtin) = (LocaleProvider::Libc, LocaleProvider::Builtin);
        let new = |postgres: &str| locale(&plan(postgres, None));
        assert_eq!(new("version: 15"), ("C.UTF-8".to_owned(), libc));
        assert_eq!(new("version: 17"), ("C.UTF-8".to_owned(), builtin));
        assert_eq!(new("version: 17, locale: de_DE.UTF-8"), ("de_DE.UTF-8".to_owned(), libc));

        let german = plan("version: 17, locale: de_DE.UTF-8", None).settled();
        let earlier = Settled { locale: None, ..plan("version: 17", None).settled() };
        let table = [
            (&german, "version: 17", "de_DE.UTF-8", libc, None),
            (&german, "version: 17, locale: de_DE.UTF-8", "de_DE.UTF-8", libc, None),
            (&german, "version: 17, locale: C.UTF-8", "C.UTF-8", builtin, Some("has `de_DE.UTF-8`")),
            (&earlier, "version: 17", "C.UTF-8", libc, None),
            (&earlier, "version: 17, locale: C.UTF-8", "C.UTF-8", libc, None),
            (&earlier, "version: 17, locale: C", "C", builtin, Some("has `C.UTF-8`")),
        ];
        for (runs, postgres, name, provider, refused) in table {
            let plan = plan(postgres, Some(runs));
            assert_eq!(locale(&plan), (name.to_owned(), provider), "{postgres}");
            let refusal = moves(&plan, runs).err();
            assert_eq!(refusal.is_some(), refused.is_some(), "{postgres}: {refusal:?}");
            if let (Some(refusal), Some(words)) = (refusal, refused) {
                assert_eq!((refusal.code, refusal.field.join(".").as_str()), ("locale-fixed", "postgres.locale"));
                assert!(refusal.message.contains(words), "{}", refusal.message);
            }
        }
    }

    #[test]
    fn icu_locale_of_a_database_that_exists_cannot_change() {
        let plan = plan("databases: {app: {icu_locale: de-DE}}", None);
        assert_eq!(plan.postgres.icu_locales, IcuLocales::from([("app".parse().unwrap(), "de-DE".to_owned())]));
        let table = [
            (None, None),
            (Some(DatabaseLocale::Icu("de-DE".to_owned())), None),
            (Some(DatabaseLocale::Icu("sv-SE".to_owned())), Some("has the ICU locale `sv-SE`")),
            (Some(DatabaseLocale::Plain(Locale::of_earlier_releases())), Some("has `C.UTF-8` and no ICU locale")),
        ];
        for (has, refused) in table {
            let found = has.map(|locale| ("app".to_owned(), locale)).into_iter().collect();
            let refusal = of_databases(&plan, &found).err();
            assert_eq!(refusal.is_some(), refused.is_some(), "{found:?}");
            if let (Some(refusal), Some(words)) = (refusal, refused) {
                assert_eq!(refusal.field.join("."), "postgres.databases.app.icu_locale");
                assert!(refusal.message.contains(words), "{}", refusal.message);
            }
        }
    }
}
