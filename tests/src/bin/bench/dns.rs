//! `bench dns`: how many questions about a cluster's names the DNS server answers on one core, beside a server that
//! only sends datagrams back.
//!
//! Both are processes of their own on the first core. Questions come from one socket of this process: as fast as they
//! are answered, with a window of them under way, and at a steady rate, as from many pods. How long an answer took
//! counts from the time at which its question was due.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::api::{Client, Figures, Server, StoreKind, free_port};
use crate::process::{cpu, resident};

const SERVICES: usize = 1_000;
/// As the add-on has it, but for where it listens and whom it asks.
const COREFILE: &str = "{
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    cache 30
    loadbalance
}";
/// Questions under way at a time while the server is asked as fast as it answers.
const WINDOW: usize = 32;
/// Questions a second.
const STEADY: u32 = 50_000;
/// Between looks whether a question is due or answered.
const PAUSE: Duration = Duration::from_micros(10);
const PATIENCE: Duration = Duration::from_secs(30);

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// A question, and what its answer says: the code and how many records.
struct Question {
    bytes: Vec<u8>,
    expected: (u8, u16),
}

impl Question {
    fn new(name: &str, kind: u16, code: u8, records: u16) -> Self {
        let mut bytes = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).expect("labels are short"));
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend([kind.to_be_bytes(), [0, 1]].concat());
        Self { bytes, expected: (code, records) }
    }

    /// What pods ask for: half of it on the search path.
    fn all() -> Vec<Self> {
        let of_one = |number: usize| {
            let (web, db) = (format!("web-{number}.default"), format!("db-{number}.default"));
            [
                Self::new(&format!("{web}.default.svc.cluster.local"), A, 3, 0),
                Self::new(&format!("{web}.default.svc.cluster.local"), AAAA, 3, 0),
                Self::new(&format!("{web}.svc.cluster.local"), A, 0, 1),
                Self::new(&format!("{web}.svc.cluster.local"), AAAA, 0, 0),
                Self::new(&format!("{db}.svc.cluster.local"), A, 0, 3),
                Self::new(&format!("_sql._tcp.{db}.svc.cluster.local"), SRV, 0, 3),
            ]
        };
        (0..SERVICES / 2).flat_map(of_one).collect()
    }
}

/// A server on the first core. It ends with its value.
struct Asked {
    process: Child,
    socket: UdpSocket,
}

impl Drop for Asked {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

impl Asked {
    fn start(port: u16, command: &[&std::ffi::OsStr]) -> Self {
        let mut on_one_core = Command::new("taskset");
        on_one_core.args(["-c", "0"]).args(command).stdout(Stdio::null());
        let process = on_one_core.spawn().expect("the program can be run");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("an address");
        Self { process, socket }
    }

    /// Waits until a question gets its answer.
    fn wait_for(&self, question: &Question) {
        let began = Instant::now();
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket option");
        let mut answer = [0; 512];
        loop {
            let asked = self.socket.send(&question.bytes).and_then(|_| self.socket.recv(&mut answer));
            if asked.is_ok() && expected(&answer) == question.expected {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks for a time: with `rate` questions a second, or else with a window of them under way. Answers are counted
    /// wrong that say something else than `expected`.
    fn load(&self, questions: &[Question], rate: Option<u32>, span: Duration, is_floor: bool) -> Figures {
        self.socket.set_nonblocking(true).expect("a socket option");
        let (began, before) = (Instant::now(), cpu(self.process.id()));
        let (mut sent, mut wrong) = (0_usize, 0);
        let mut under_way = vec![None; 1 << 16];
        let mut latencies = Vec::new();
        let (mut buffer, mut bytes) = ([0; 512], Vec::new());
        let is_over = |answered, sent| match began.elapsed() {
            elapsed if elapsed < span => false,
            elapsed => answered == sent || elapsed > span + Duration::from_secs(1),
        };
        while !is_over(latencies.len(), sent) {
            let elapsed = began.elapsed();
            let due = match rate {
                Some(rate) => Duration::from_secs(1).mul_f64(sent as f64 / f64::from(rate)),
                None => elapsed,
            };
            let has_room = rate.is_some() || sent - latencies.len() < WINDOW;
            if elapsed < span && due <= elapsed && has_room {
                let id = sent % under_way.len();
                bytes.clone_from(&questions[sent % questions.len()].bytes);
                bytes[..2].copy_from_slice(&u16::try_from(id).expect("a number of 16 bits").to_be_bytes());
                under_way[id] = Some((due, sent % questions.len()));
                sent += usize::from(self.socket.send(&bytes).is_ok());
            }
            match self.socket.recv(&mut buffer) {
                Ok(_) => {
                    let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
                    let Some((due, question)) = under_way[id].take() else { continue };
                    latencies.push(began.elapsed() - due);
                    wrong += usize::from(!is_floor && expected(&buffer) != questions[question].expected);
                }
                // The pause leaves the machine to others, whose work would count as the server's slowness.
                Err(error) if error.kind() == ErrorKind::WouldBlock => match rate {
                    Some(_) if began.elapsed() < span => std::thread::sleep(PAUSE),
                    _ => std::hint::spin_loop(),
                },
                Err(error) => panic!("the server is gone: {error}"),
            }
        }
        self.socket.set_nonblocking(false).expect("a socket option");
        assert_eq!(wrong, 0, "answers that are wrong");
        let lost = sent - latencies.len();
        if lost > 0 {
            println!("  {lost} of {sent} questions were not answered");
        }
        Figures::new(latencies, span, cpu(self.process.id()) - before)
    }

    fn measure(&self, questions: &[Question], span: Duration, is_floor: bool) {
        for (what, rate) in
            [(format!("{WINDOW} under way"), None), (format!("{STEADY} a second"), Some(STEADY))]
        {
            crate::api::print(&format!("questions, {what}"), &self.load(questions, rate, span, is_floor));
        }
        println!("  {:<46} {:.1} MB", "memory after that", resident(self.process.id()));
    }
}

/// The code and the number of records that an answer says.
fn expected(answer: &[u8]) -> (u8, u16) {
    (answer[3] & 15, u16::from_be_bytes([answer[6], answer[7]]))
}

/// Sends datagrams back from a port of the loopback until the process is ended.
pub fn serve_floor(port: u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("a socket");
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        // The caller may be gone.
        let _sent = socket.send_to(&buffer[..length], from);
    }
}

/// Services with an address, and as many without one, of three endpoints each.
async fn fill(server: &Server) {
    let mut client = Client::connect(server).await;
    let mut create = async |path: &str, object: Value| {
        client.whole(&Method::POST, path, Bytes::from(object.to_string())).await;
    };
    for number in 0..SERVICES / 2 {
        let port = json!([{"name": "sql", "port": 5432, "protocol": "TCP"}]);
        for (name, spec) in [
            (format!("web-{number}"), json!({"ports": port})),
            (format!("db-{number}"), json!({"ports": port, "clusterIP": "None"})),
        ] {
            let service = json!({"metadata": {"name": name}, "spec": spec});
            create("/api/v1/namespaces/default/services", service).await;
            let endpoint = |last: usize| {
                let address = format!("10.244.{}.{}", number / 60, number % 60 * 4 + last);
                json!({"addresses": [address], "hostname": format!("{name}-{last}"), "conditions": {"ready": true}})
            };
            let slice = json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "endpoints": [endpoint(1), endpoint(2), endpoint(3)],
                "ports": port,
            });
            create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await;
        }
    }
}

/// Keeps this process off the core of the servers, if there is another one.
fn leave_the_first_core() {
    let mut others = CpuSet::new();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (1..cores).for_each(|core| others.set(core).expect("there are no more cores than fit"));
    if cores > 1 {
        sched_setaffinity(Pid::from_raw(0), &others).expect("a core of our own");
    }
}

/// Measures the floor and the DNS server.
pub fn measure(span: Duration) {
    leave_the_first_core();
    let questions = Question::all();
    let (us, port) = (std::env::current_exe().expect("a path of our own"), free_port());
    let floor = Asked::start(port, &[us.as_ref(), "echo".as_ref(), port.to_string().as_ref()]);
    println!("the floor of DNS: a server that sends datagrams back, on one core:");
    let echoed = Question { expected: (0, 0), ..Question::new("echo", A, 0, 0) };
    floor.wait_for(&echoed);
    floor.measure(&questions, span, true);
    drop(floor);

    let server = Server::start(StoreKind::Memory);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(fill(&server));
    let dir = tempfile::tempdir().expect("a folder");
    let (conf, port) = (dir.path().join("Corefile"), free_port());
    fs::write(&conf, format!(".:{port} {COREFILE}")).expect("files can be written");
    let (program, kubeconfig) = (e2e::bin_dir().join("dns"), server.kubeconfig());
    let dns = Asked::start(
        port,
        &[
            program.as_ref(),
            "--v=0".as_ref(),
            "--conf".as_ref(),
            conf.as_ref(),
            "--kubeconfig".as_ref(),
            kubeconfig.as_ref(),
        ],
    );
    println!("DNS server, {SERVICES} services, on one core:");
    questions.iter().rev().take(6).for_each(|question| dns.wait_for(question));
    println!("  {:<46} {:.1} MB", "memory after start", resident(dns.process.id()));
    dns.measure(&questions, span, false);
}
