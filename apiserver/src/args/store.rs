//! Flags about where state is kept.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use api::duration;

use crate::store::{EncryptionConfig, StoreConfig};

#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    /// Where state is kept: `etcd:http://host:2379[,…]`, `etcd:unix:///PATH`, `file:PATH` or `memory`.
    #[arg(long, default_value = "etcd:http://127.0.0.1:2379")]
    store: String,
    /// Addresses of etcd's members, as `--store etcd:…` takes them.
    #[arg(long, value_name = "URL,…", conflicts_with = "store")]
    etcd_servers: Option<String>,
    /// What all keys begin with; this alone.
    #[arg(long, value_name = "PREFIX", value_parser = ["/registry"])]
    etcd_prefix: Option<String>,
    /// Authority of etcd's certificates (PEM).
    #[arg(long)]
    etcd_cafile: Option<PathBuf>,
    /// Certificate shown to etcd (PEM).
    #[arg(long, requires = "etcd_keyfile")]
    etcd_certfile: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, requires = "etcd_certfile")]
    etcd_keyfile: Option<PathBuf>,
    /// File with `NAME:PASSWORD` of a user of etcd.
    #[arg(long)]
    etcd_user_file: Option<PathBuf>,
    /// How often etcd drops history that is older than this; 0 for never.
    #[arg(long, default_value = "5m0s", value_parser = duration::parse_unsigned)]
    etcd_compaction_interval: Duration,
    /// EncryptionConfiguration: which resources are encrypted in the store, and how.
    #[arg(long)]
    encryption_provider_config: Option<PathBuf>,
    /// Read it again when it changes.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true", requires = "encryption_provider_config")]
    encryption_provider_config_automatic_reload: bool,
}

impl StoreArgs {
    /// The store, and what is encrypted in it.
    pub(super) fn into_config(self) -> anyhow::Result<(StoreConfig, Option<EncryptionConfig>)> {
        let store = self.etcd_servers.map_or(self.store, |servers| format!("etcd:{servers}"));
        let mut store: StoreConfig = store
            .parse::<StoreConfig>()
            .with_context(|| format!("--store {store:?}"))?
            .with_access(self.etcd_cafile, self.etcd_certfile.zip(self.etcd_keyfile), self.etcd_user_file)?;
        if let StoreConfig::Etcd(etcd) = &mut store {
            etcd.compaction_interval = Some(self.etcd_compaction_interval);
        }
        let reload = self.encryption_provider_config_automatic_reload;
        Ok((store, self.encryption_provider_config.map(|file| EncryptionConfig { file, reload })))
    }
}
