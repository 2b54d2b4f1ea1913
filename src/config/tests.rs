//! Loading as a whole, from files in a folder of their own.

use std::path::PathBuf;

use super::*;

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(&file).map_err(|problems| {
        let folder = format!("{}/", folder.path().display());
        problems.to_string().replace(&folder, "")
    })
}

#[test]
fn the_messages_that_come_with_the_program_are_without_fault() {
    for (id, text) in crate::compose::messages::BUILT_IN {
        // Read as if it were somebody's own: those that are known to be built in are not tried out again at start.
        let read = crate::compose::messages::read(id, Path::new(id), text);
        let message = read.unwrap_or_else(|problems| panic!("{}", Problems(problems)));
        assert_eq!(message.texts.len(), 8);
    }
    assert_eq!(crate::compose::messages::load(None).messages.len(), 12);
}

#[test]
fn every_file_of_the_messages_folder_is_built_in() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("templates/messages");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    files.sort();
    let built_in: Vec<&str> = crate::compose::messages::BUILT_IN
        .iter()
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(files, built_in);
}

#[test]
fn a_file_without_accounts_says_all_that_is_missing() {
    insta::assert_snapshot!(load("").unwrap_err());
}

#[test]
fn an_account_of_ones_own_server_may_have_no_limit() {
    let text = "[municipality]\nname = \"Nässjö kommun\"\nsite = \"https://nassjo.se\"\n\
                [vault]\nkey_file = \"vault.key\"\n\
                [confirmation]\nto = [\"kris@nassjo.se\"]\nfrom = \"vardkase@nassjo.se\"\n\
                [[relay]]\nid = \"relay\"\nhost = \"127.0.0.1\"\nport = 25\ntls = \"none\"\n\
                [account.hook]\nchannel = \"webhook\"\nendpoint = \"https://nassjo.se/krok\"\nrate = \"none\"\n";
    let config = load(text).unwrap();
    let pace = config.accounts.values().next().unwrap().pace;
    assert_eq!((pace.attempts, pace.per), (0, Duration::ZERO));
}
