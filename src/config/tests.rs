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
    let loaded = crate::compose::messages::load(None);
    let all: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(all, Vec::<String>::new());
    assert_eq!(loaded.messages.len(), 12);
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
