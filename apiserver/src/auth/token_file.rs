//! The static token file: `token,user,uid[,"group1,group2"]` a line, as kube-apiserver's
//! `--token-auth-file` reads it.

use std::{collections::HashMap, path::Path};

use anyhow::Context as _;

use super::User;

/// Tokens known from the start of the server.
pub struct TokenFile(HashMap<String, User>);

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or a line has fewer than three fields. Neither this nor the log tells a token.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let warn = |what: &str, record: usize| {
            let file = path.display();
            tracing::warn!("{what} token has been found in token file '{file}', record number '{record}'");
        };
        Self::parse(&text, warn).with_context(|| format!("in {}", path.display()))
    }

    /// As upstream, of a token that is there twice the last line counts.
    fn parse(text: &str, mut warn: impl FnMut(&str, usize)) -> anyhow::Result<Self> {
        let mut users = HashMap::new();
        for (i, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
            let mut fields = line.splitn(4, ',').map(str::trim);
            let (Some(token), Some(name), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
                anyhow::bail!("record {} needs at least token, user and uid", i + 1);
            };
            if token.is_empty() {
                warn("empty", i + 1);
                continue;
            }
            let groups = fields.next().unwrap_or("").trim_matches('"');
            let groups =
                groups.split(',').map(str::trim).filter(|g| !g.is_empty()).map(str::to_owned).collect();
            let user = User::new(name.to_owned(), uid.to_owned(), groups);
            if users.insert(token.to_owned(), user).is_some() {
                warn("duplicate", i + 1);
            }
        }
        Ok(Self(users))
    }

    /// The user a token belongs to.
    pub fn find(&self, token: &str) -> Option<User> {
        self.0.get(token).cloned()
    }
}

#[cfg(test)]
mod tests;
