//! Log lines in the format of Kubernetes' daemons (klog), written to standard error:
//! `I0102 15:04:05.000000    4711 scheduler::bind:42] "Bound" pod="default/web" node="node-1"`.
//!
//! The verbosity flag selects info, debug or trace for Skiff's own crates; libraries
//! are one step quieter. `RUST_LOG` overrules.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::args::CommonArgs;

/// Starts logging for the process. A second call changes nothing.
pub fn init(args: &CommonArgs) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directives(args.verbosity)));
    let already_set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would tell standard error that standard error takes nothing (a full disk), and panic.
        .log_internal_errors(false)
        .event_format(Klog)
        .try_init()
        .is_err();
    if already_set {
        tracing::debug!("logging is already set up");
    }
}

fn directives(verbosity: u8) -> &'static str {
    match verbosity {
        0..=2 => "info,kube_client=error,hyper=warn,tower=warn",
        3..=4 => {
            "debug,kube_client=error,hyper=info,hyper_util=info,tower=info,rustls=info,h2=info,tonic=info"
        }
        _ => "trace,hyper=debug,hyper_util=debug,rustls=debug,h2=debug",
    }
}

struct Klog;

impl<S, N> FormatEvent<S, N> for Klog
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let now = crate::clock::now().to_zoned(jiff::tz::TimeZone::UTC);
        let line = metadata.line().unwrap_or(0);
        write!(
            writer,
            "{}{:02}{:02} {:02}:{:02}:{:02}.{:06} {:7} {}:{line}] ",
            severity(*metadata.level()),
            now.month(),
            now.day(),
            now.hour(),
            now.minute(),
            now.second(),
            now.subsec_nanosecond() / 1000,
            std::process::id(),
            metadata.target(),
        )?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(writer, "\"{}\"{}", fields.message, fields.rest)
    }
}

fn severity(level: Level) -> char {
    match level {
        Level::ERROR => 'E',
        Level::WARN => 'W',
        _ => 'I',
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(&value.escape_debug().to_string().replace("\\'", "'"));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(self.rest, " {}={value:?}", field.name());
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let plain = text.parse::<f64>().is_ok() || text == "true" || text == "false";
        if field.name() != "message" && (plain || text.starts_with('"')) {
            let _ = write!(self.rest, " {}={text}", field.name());
        } else {
            self.record_str(field, &text);
        }
    }
}

/// An error and what caused it on one line, each cause said once. Of an answer of the API server, what it says: kube would
/// show all of it.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let (words, cause) = match error.downcast_ref() {
            Some(kube::Error::Api(answer)) => (format!("{} ({})", answer.message, answer.code), None),
            _ => (error.to_string(), error.source()),
        };
        if !text.contains(&words) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&words);
        }
        next = cause;
    }
    text
}

#[cfg(test)]
mod tests;
