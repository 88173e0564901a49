//! Flags about the tokens of service accounts.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use api::duration;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

#[derive(Debug, clap::Args)]
pub(super) struct ServiceAccountArgs {
    /// Further keys whose service account tokens are accepted: all that are in the files (PEM), public, private, or
    /// of certificates; RSA, or ECDSA on P-256 or P-384.
    #[arg(long)]
    service_account_key_file: Vec<PathBuf>,
    /// The private key that signs service account tokens, of the same kinds; without it none are issued.
    #[arg(long)]
    service_account_signing_key_file: Option<PathBuf>,
    /// The issuer named in service account tokens. Given several times, the first one is, and tokens of the others are
    /// accepted.
    #[arg(long, default_values = [ISSUER])]
    service_account_issuer: Vec<String>,
    /// For whom a token must be meant to be accepted here, and is when nobody says otherwise; the issuers by default.
    #[arg(long, value_delimiter = ',')]
    api_audiences: Vec<String>,
    /// Let tokens that are mounted into pods, which are asked for 3607 seconds, live a year.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    service_account_extend_token_expiration: bool,
    /// The longest life that service account tokens may be asked for, at least an hour; 0 for no limit.
    #[arg(long, default_value = "0s", value_parser = duration::parse_unsigned)]
    service_account_max_token_expiration: Duration,
}

/// What holds for service account tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// Who issues, first, and who did so before.
    pub issuers: Vec<String>,
    /// For whom tokens must be meant.
    pub audiences: Vec<String>,
    /// Whether tokens that are mounted into pods live longer than was asked.
    pub extend: bool,
    /// The longest life that may be asked for, in seconds.
    pub longest: Option<i64>,
}

impl Default for TokenRules {
    fn default() -> Self {
        let us = vec![ISSUER.to_owned()];
        Self { issuers: us.clone(), audiences: us, extend: true, longest: None }
    }
}

/// The file of the key that signs, and those of others that are accepted.
pub type TokenKeys = (PathBuf, Vec<PathBuf>);

impl ServiceAccountArgs {
    /// The key that signs with others that are accepted, and what else holds for the tokens.
    pub(super) fn into_config(self) -> anyhow::Result<(Option<TokenKeys>, TokenRules)> {
        ensure!(
            self.service_account_key_file.is_empty() || self.service_account_signing_key_file.is_some(),
            "--service-account-key-file needs --service-account-signing-key-file"
        );
        let longest = self.service_account_max_token_expiration.as_secs();
        ensure!(
            longest == 0 || (3600..=1 << 32).contains(&longest),
            "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds"
        );
        let issuers = self.service_account_issuer;
        let rules = TokenRules {
            audiences: if self.api_audiences.is_empty() { issuers.clone() } else { self.api_audiences },
            issuers,
            extend: self.service_account_extend_token_expiration,
            longest: i64::try_from(longest).ok().filter(|seconds| *seconds > 0),
        };
        let others = self.service_account_key_file;
        Ok((self.service_account_signing_key_file.map(|signing| (signing, others)), rules))
    }
}
