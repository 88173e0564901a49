//! The program of the test images `http-go:v1`, `v2`, `v3`: answers every request with
//! `Welcome! VERSION` and the pod's name.
//!
//! VERSION comes from the environment, as does LINGER_MS: how long it still answers
//! after SIGTERM, until the last client has heard that it is going. `http-go get ADDRESS:PORT`
//! is a client: it prints the body of the answer. `http-go hook CERT KEY` is a webhook.

mod hook;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn answer(stream: TcpStream, body: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = BufReader::new(stream);
    let mut line = String::new();
    // The head ends with an empty line.
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    request.get_mut().write_all(format!("{head}{body}").as_bytes())
}

fn serve(listener: &TcpListener, body: &'static str) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            if let Err(error) = answer(stream, body) {
                eprintln!("http-go: {error}");
            }
        });
    }
}

/// Asks a server and prints what it answers.
fn get(address: &str) -> std::io::Result<()> {
    let address = address.parse().map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    print!("{}", body.ok_or_else(|| std::io::Error::other(format!("no HTTP answer: {answer:?}")))?);
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, verb, address] = arguments.as_slice()
        && verb == "get"
    {
        return match get(address) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("http-go: {address}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if let [_, verb, cert, key] = arguments.as_slice()
        && verb == "hook"
    {
        return match hook::serve(cert, key) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("http-go: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTERM);
    stop.add(Signal::SIGINT);
    if let Err(error) = stop.thread_block() {
        eprintln!("http-go: {error}");
        return ExitCode::FAILURE;
    }
    let version = setting("VERSION", "v1");
    let port = setting("PORT", "8080");
    let linger = Duration::from_millis(setting("LINGER_MS", "0").parse().unwrap_or(0));
    let listener = match TcpListener::bind(format!("0.0.0.0:{port}")) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("http-go: cannot listen on {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("http-go {version} listens on {port}");
    let body: &'static str =
        Box::leak(format!("Welcome! {version}\n{}\n", setting("HOSTNAME", "")).into_boxed_str());
    std::thread::spawn(move || serve(&listener, body));
    match stop.wait() {
        Ok(signal) => println!("http-go {version} stops on {signal}"),
        Err(error) => eprintln!("http-go: {error}"),
    }
    std::thread::sleep(linger);
    ExitCode::SUCCESS
}
