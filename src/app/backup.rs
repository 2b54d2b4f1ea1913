//! A copy of everything that the daemon needs, taken while it runs: whole, or not there.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::{App, AppError};
use crate::config::Config;
use crate::model::Actor;

/// Folders in folders of prepared messages and lists, at most: a link that leads back must not fill the disk.
const DEEP: usize = 8;

impl App {
    /// Copies database, vault, configuration, prepared messages and lists into a new folder. If any of it fails, the folder
    /// is not there afterwards.
    ///
    /// # Errors
    /// [`AppError::Conflict`] with what failed and what to do.
    pub async fn backup(&self, to: &Path, actor: Actor) -> Result<Vec<PathBuf>, AppError> {
        if !to.is_absolute() {
            return Err(AppError::Invalid(
                "the folder of a backup must be an absolute path".to_owned(),
            ));
        }
        make(to).map_err(|error| {
            AppError::Conflict(format!(
                "{error}. Name a folder that does not exist yet, in one that the daemon's user may write to"
            ))
        })?;
        match self.copy_all(to).await {
            Ok(files) => {
                self.record(actor, "backup", json!({ "to": to, "files": files.len() }))
                    .await?;
                Ok(files)
            }
            Err(why) => {
                let left = match std::fs::remove_dir_all(to) {
                    Ok(()) => "nothing of it is left".to_owned(),
                    Err(error) => format!("what is left of it is in {} ({error}); remove it", to.display()),
                };
                Err(AppError::Conflict(format!(
                    "there is no backup: {why}; {left}. See that the disk has room and that the daemon's user may read what is \
                     copied, then run it again"
                )))
            }
        }
    }

    async fn copy_all(&self, to: &Path) -> Result<Vec<PathBuf>, String> {
        let database = to.join("vardkase.db");
        self.store.backup(&database).await.map_err(|e| e.to_string())?;
        let (config, to) = (self.config(), to.to_owned());
        let copied = tokio::task::spawn_blocking(move || copy_files(&config, &to)).await;
        let mut files = vec![database];
        files.extend(copied.map_err(|_| "the copying was abandoned".to_owned())??);
        Ok(files)
    }
}

fn copy_files(config: &Arc<Config>, to: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    if config.vault.file.exists() {
        files.push(copy(&config.vault.file, to.join("vault.json"))?);
    }
    files.push(copy(&config.path, to.join("config.toml"))?);
    if let Some(messages) = &config.daemon.messages {
        copy_folder(messages, &to.join("messages"), DEEP, &mut files)?;
    }
    for (id, list) in &config.lists {
        let Some(of) = &list.files else { continue };
        if !of.place.exists() {
            tracing::warn!(list = %id, path = %of.place.display(), "a list is not in the backup: it is not there");
            continue;
        }
        let lists = to.join("lists");
        if !lists.exists() {
            make(&lists)?;
        }
        let target = lists.join(id.as_str());
        if of.folder {
            copy_folder(&of.place, &target, DEEP, &mut files)?;
        } else {
            make(&target)?;
            let name = of.place.file_name().unwrap_or_default();
            files.push(copy(&of.place, target.join(name))?);
        }
    }
    Ok(files)
}

fn make(folder: &Path) -> Result<(), String> {
    let made = DirBuilder::new().mode(0o700).create(folder);
    made.map_err(|error| format!("{}: {error}", folder.display()))
}

fn copy(from: &Path, to: PathBuf) -> Result<PathBuf, String> {
    std::fs::copy(from, &to)
        .and_then(|_| File::open(&to)?.sync_all())
        .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    Ok(to)
}

fn copy_folder(from: &Path, to: &Path, deep: usize, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    make(to)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let about = std::fs::metadata(&path).map_err(failed)?;
        if about.is_file() {
            files.push(copy(&path, target)?);
        } else if about.is_dir() && deep > 0 {
            copy_folder(&path, &target, deep - 1, files)?;
        }
    }
    Ok(())
}
