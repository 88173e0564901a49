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
    /// When it cannot be read or a line has fewer than three fields. The text names the line, never a token.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut users = HashMap::new();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let mut fields = line.splitn(4, ',').map(str::trim);
            let (Some(token), Some(name), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
                anyhow::bail!("line {} needs at least token, user and uid", i + 1);
            };
            anyhow::ensure!(
                !token.is_empty() && !name.is_empty(),
                "line {} has an empty token or user",
                i + 1
            );
            let groups = fields.next().unwrap_or("").trim_matches('"');
            let groups =
                groups.split(',').map(str::trim).filter(|g| !g.is_empty()).map(str::to_owned).collect();
            users.insert(token.to_owned(), User::new(name.to_owned(), uid.to_owned(), groups));
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
