//! Probes and lifecycle hooks.

use k8s_openapi::api::core::v1::{
    ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, TCPSocketAction,
};

use crate::builtin::prelude::*;

/// The ways to ask, of which one must be chosen.
struct Ways<'a> {
    exec: Option<&'a ExecAction>,
    http: Option<&'a HTTPGetAction>,
    tcp: Option<&'a TCPSocketAction>,
    grpc_port: Option<i32>,
    sleep: Option<i64>,
}

fn one_way(ways: &Ways<'_>, grace: i64, at: &Path, errors: &mut Errors) {
    let mut chosen = 0;
    let mut first = |field: &str, errors: &mut Errors| {
        chosen += 1;
        if chosen > 1 {
            errors.forbidden(&at.child(field), "may not specify more than 1 handler type");
        }
        chosen == 1
    };
    if let Some(exec) = ways.exec
        && first("exec", errors)
        && exec.command.as_ref().is_none_or(Vec::is_empty)
    {
        errors.required(&at.child("exec").child("command"), "");
    }
    if let Some(get) = ways.http
        && first("httpGet", errors)
    {
        let at = at.child("httpGet");
        if get.path.as_deref().is_none_or(str::is_empty) {
            errors.required(&at.child("path"), "");
        }
        port_number_or_name(&get.port, &at.child("port"), errors);
        given_one_of(get.scheme.as_deref(), &["HTTP", "HTTPS"], &at.child("scheme"), errors);
        for header in get.http_headers.iter().flatten() {
            each(errors, &at.child("httpHeaders"), &header.name, header_name(&header.name));
        }
    }
    if let Some(socket) = ways.tcp
        && first("tcpSocket", errors)
    {
        port_number_or_name(&socket.port, &at.child("tcpSocket").child("port"), errors);
    }
    if let Some(port) = ways.grpc_port
        && first("grpc", errors)
    {
        in_range(i64::from(port), 1, 65535, &at.child("grpc").child("port"), errors);
    }
    if let Some(seconds) = ways.sleep
        && first("sleep", errors)
        && !(0..=grace).contains(&seconds)
    {
        let words = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(&at.child("sleep"), seconds, words);
    }
    if chosen == 0 {
        errors.required(at, "must specify a handler type");
    }
}

/// Which of the three probes it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Liveness,
    Readiness,
    Startup,
}

pub fn probe(probe: Option<&Probe>, purpose: Purpose, grace: i64, at: &Path, errors: &mut Errors) {
    let Some(probe) = probe else { return };
    let ways = Ways {
        exec: probe.exec.as_ref(),
        http: probe.http_get.as_ref(),
        tcp: probe.tcp_socket.as_ref(),
        grpc_port: probe.grpc.as_ref().map(|g| g.port),
        sleep: None,
    };
    one_way(&ways, grace, at, errors);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        not_negative(value, &at.child(field), errors);
    }
    let own_grace = probe.termination_grace_period_seconds;
    if let Some(seconds) = own_grace.filter(|s| *s <= 0) {
        errors.invalid(&at.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
    }
    match (purpose, probe.success_threshold) {
        (Purpose::Liveness | Purpose::Startup, Some(n)) if n != 1 => {
            errors.invalid(&at.child("successThreshold"), n, "must be 1");
        }
        _ => {}
    }
    if purpose == Purpose::Readiness
        && let Some(seconds) = own_grace
    {
        let at = at.child("terminationGracePeriodSeconds");
        errors.invalid(&at, seconds, "must not be set for readinessProbes");
    }
}

pub fn lifecycle(lifecycle: Option<&Lifecycle>, grace: i64, at: &Path, errors: &mut Errors) {
    let Some(lifecycle) = lifecycle else { return };
    let mut hook = |handler: &Option<LifecycleHandler>, field: &str| {
        if let Some(h) = handler {
            let ways = Ways {
                exec: h.exec.as_ref(),
                http: h.http_get.as_ref(),
                tcp: h.tcp_socket.as_ref(),
                grpc_port: None,
                sleep: h.sleep.as_ref().map(|s| s.seconds),
            };
            one_way(&ways, grace, &at.child(field), errors);
        }
    };
    hook(&lifecycle.post_start, "postStart");
    hook(&lifecycle.pre_stop, "preStop");
}
