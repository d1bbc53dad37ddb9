//! Passwords from outside.

use super::*;

impl Site {
    /// The vault with passwords from the environment and from `commands`.
    async fn given(&self, commands: &[(Account, Vec<String>)]) -> Result<Vault> {
        let mut vault = self.vault().await?;
        let commands: Vec<_> = commands.iter().map(|(account, words)| (account, words.as_slice())).collect();
        let accounts = [Account::of_every_cluster(), vec![app()]].concat();
        let sources = Sources { commands: &commands, dir: self.dir.path(), accounts: &accounts };
        vault.take_given(&self.context, &sources).await?;
        vault.ensure_passwords(&accounts)?;
        Ok(vault)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.context.env.insert(name.to_owned(), value.to_owned());
    }
}

#[tokio::test]
async fn given_password_replaces_the_generated_password_and_is_not_saved() {
    let mut site = Site::new();
    site.set("HACTL_SECRET_SUPERUSER", "of the environment");
    site.file("password", "of a file\n");
    let commands = [
        (Account::SUPERUSER, words("touch ran; echo of a command")),
        (Account::RESTAPI, words("cat password")),
        (app(), words("printf 'a:b\\\\c'")),
    ];
    let mut vault = site.given(&commands).await.unwrap();
    let passwords = vault.passwords();
    assert_eq!(passwords[&Account::SUPERUSER].expose(), "of the environment");
    assert_eq!(passwords[&Account::RESTAPI].expose(), "of a file");
    assert_eq!(passwords[&app()].expose(), r"a:b\c");
    assert_eq!(passwords[&Account::REPLICATION].expose().len(), 32, "the file's own");
    assert_eq!(vault.password(&app()).unwrap(), &passwords[&app()]);
    assert!(!site.dir.path().join("ran").exists(), "a variable goes first");
    vault.save().unwrap();

    site.context.env.remove("HACTL_SECRET_SUPERUSER");
    let own = site.vault().await.unwrap().passwords();
    assert!(own[&Account::SUPERUSER].expose().len() == 32 && !own.contains_key(&app()));
    assert_eq!(own[&Account::REPLICATION], passwords[&Account::REPLICATION]);
}

#[tokio::test]
async fn invalid_given_password_is_refused_without_its_text() {
    let mut site = Site::new();
    for (name, value, expected) in [
        ("HACTL_SECRET_SUPERUSR", "hunter2", "did you mean HACTL_SECRET_SUPERUSER?"),
        ("HACTL_SECRET_OWNER_AP", "hunter2", "did you mean HACTL_SECRET_OWNER_APP?"),
        ("HACTL_SECRET_REWIND", "", "is empty"),
        ("HACTL_SECRET_REPLICATION", "hunter2\nx", "more than one line"),
        ("HACTL_SECRET_RESTAPI", "hunter2\u{e9}", "not printable ASCII"),
    ] {
        site.set(name, value);
        let error = site.given(&[]).await.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(expected) && !error.contains("hunter2"), "{error}");
    }
    let error = site.given(&[]).await.unwrap_err();
    assert_eq!((error.causes.len(), error.kind), (5, Kind::Usage), "all at once");

    site.context.env.retain(|name, _| !name.starts_with(Account::PREFIX));
    for (command, expected) in [
        ("echo hunter2; echo the store is locked >&2; exit 4", "the store is locked"),
        ("true", "is empty"),
        ("echo hunter2; echo", "more than one line"),
        ("printf 'hunter2\\000'", "not printable ASCII"),
    ] {
        let error = site.given(&[(Account::REWIND, words(command))]).await.unwrap_err();
        assert!(error.object.contains("secrets.rewind") && error.hint.is_some(), "{error}");
        let causes = error.causes.join(" ");
        assert!(causes.contains(expected) && !causes.contains("hunter2"), "{causes}");
    }
}
