//! Flags about callers whom other systems know. Those of one issuer say less than a file can, the same way.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use crate::auth::oidc::{Authentication, ClaimMappings, ClaimRule, Claimed, IssuerConfig, JwtAuthenticator};

#[derive(Debug, clap::Args)]
pub(super) struct AuthenticationArgs {
    /// AuthenticationConfiguration: issuers of tokens, and what is done without a credential. Read again when it changes.
    #[arg(long, conflicts_with = "oidc_issuer_url")]
    authentication_config: Option<PathBuf>,
    /// Look at requests without a credential; they are refused otherwise. True unless the file says something.
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    anonymous_auth: Option<bool>,
    /// URL of an OpenID Connect issuer whose tokens are taken; https alone.
    #[arg(long, requires = "oidc_client_id")]
    oidc_issuer_url: Option<String>,
    /// For whom these tokens must be meant.
    #[arg(long, requires = "oidc_issuer_url")]
    oidc_client_id: Option<String>,
    /// The issuer's authorities (PEM); those that this system trusts without it.
    #[arg(long, requires = "oidc_issuer_url")]
    oidc_ca_file: Option<PathBuf>,
    /// The claim that is the user's name.
    #[arg(long, requires = "oidc_issuer_url", default_value = "sub")]
    oidc_username_claim: String,
    /// What is put in front of names; `-` for nothing. `ISSUER#` without it, unless the claim is `email`.
    #[arg(long, requires = "oidc_issuer_url", default_value = "", hide_default_value = true)]
    oidc_username_prefix: String,
    /// The claim that is the user's groups: a text or several.
    #[arg(long, requires = "oidc_issuer_url")]
    oidc_groups_claim: Option<String>,
    /// What is put in front of groups.
    #[arg(long, requires = "oidc_issuer_url", default_value = "", hide_default_value = true)]
    oidc_groups_prefix: String,
    /// How tokens may be signed: RS256, RS384, RS512, PS256, PS384, PS512, ES256 or ES384.
    #[arg(long, requires = "oidc_issuer_url", value_delimiter = ',', default_value = "RS256")]
    oidc_signing_algs: Vec<String>,
    /// A claim that must be there with this value, `key=value`; may be given several times.
    #[arg(long, requires = "oidc_issuer_url", value_name = "KEY=VALUE")]
    oidc_required_claim: Vec<String>,
}

impl AuthenticationArgs {
    /// What they say.
    pub(super) fn into_config(self) -> anyhow::Result<Authentication> {
        let said = Authentication {
            file: self.authentication_config,
            anonymous: self.anonymous_auth,
            ..Authentication::default()
        };
        let Some((url, client)) = self.oidc_issuer_url.zip(self.oidc_client_id) else { return Ok(said) };
        ensure!(
            !url.is_empty() && !client.is_empty(),
            "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"
        );
        let prefix = match self.oidc_username_prefix.as_str() {
            "" if self.oidc_username_claim != "email" => format!("{url}#"),
            "-" => String::new(),
            other => other.to_owned(),
        };
        let required = self.oidc_required_claim.iter().map(|pair| {
            let (claim, value) = pair.split_once('=').context("malformed pair, expect string=string")?;
            let (claim, required_value) = (claim.trim().to_owned(), value.trim().to_owned());
            Ok(ClaimRule { claim, required_value, ..ClaimRule::default() })
        });
        let claimed = |claim, prefix| Claimed { claim, prefix: Some(prefix), ..Claimed::default() };
        let groups = self.oidc_groups_claim.filter(|claim| !claim.is_empty());
        let jwt = JwtAuthenticator {
            claim_validation_rules: required.collect::<anyhow::Result<_>>()?,
            claim_mappings: ClaimMappings {
                username: claimed(self.oidc_username_claim, prefix),
                groups: groups
                    .map(|claim| claimed(claim, self.oidc_groups_prefix.clone()))
                    .unwrap_or_default(),
                ..ClaimMappings::default()
            },
            issuer: IssuerConfig {
                url,
                audiences: vec![client],
                certificate_authority: match &self.oidc_ca_file {
                    Some(path) => std::fs::read_to_string(path)
                        .with_context(|| format!("cannot read {}", path.display()))?,
                    None => String::new(),
                },
                ..IssuerConfig::default()
            },
            ..JwtAuthenticator::default()
        };
        Ok(Authentication { jwt: vec![jwt], algorithms: self.oidc_signing_algs, ..said })
    }
}
