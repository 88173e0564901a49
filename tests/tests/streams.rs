//! Sessions with containers as their users know them: nothing that was said last is lost, and who goes is forgotten.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::{Cluster, busybox, eventually};

const MANY: usize = 40_000_000;

fn shell(cluster: &Cluster) {
    cluster.load(&[busybox("busybox:test")]);
    cluster.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: shell}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: shell\n    \
         image: busybox:test\n    command: [sh, -c, 'echo one; echo two; exec busybox nc -ll -p 8080 -e busybox cat']\n",
    );
    cluster.kubectl("wait --for=condition=Ready pod/shell --timeout=60s").ok();
}

/// Runs a command whose output is read slowly; how much it was, and the exit code.
fn read_slowly(cluster: &Cluster, script: &str) -> (usize, Option<i32>) {
    let mut command = cluster.kubectl_command(&["exec", "shell", "--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let (mut chunk, mut all) = (vec![0; 64 * 1024], 0);
    loop {
        match out.read(&mut chunk).unwrap() {
            0 => return (all, child.wait().unwrap().code()),
            read => all += read,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many sessions the API server counts, and how many connections to the kubelet there are.
fn sessions(cluster: &Cluster) -> (usize, usize) {
    let metrics = cluster.kubectl("get --raw /metrics").ok();
    let running = metrics.lines().filter(|line| {
        line.starts_with("apiserver_longrunning_requests{") && line.contains("subresource=\"exec\"")
    });
    let running = running.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    let net = format!("--net=/run/netns/{}", cluster.description().node(0).netns);
    let looked = [net.as_str(), "ss", "-Htn", "state", "established", "sport", "=", ":10250"];
    let seen = Command::new("nsenter").args(looked).output().unwrap();
    assert!(seen.status.success(), "{seen:?}");
    let of_api_server = cluster.description().ranges.control_plane().to_string();
    (
        running,
        String::from_utf8_lossy(&seen.stdout).lines().filter(|line| line.contains(&of_api_server)).count(),
    )
}

const PROGRAM: &str = r#"
import json, socket
from kubernetes import client, config
from kubernetes.stream import portforward, stream
import websocket, ssl, base64

config.load_kube_config()
core = client.CoreV1Api()

answer = stream(core.connect_get_namespaced_pod_exec, "shell", "default", command=["sh", "-c", "cat; echo gone >&2; exit 3"],
                stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False)
answer.write_stdin("hello\n")
assert answer.readline_stdout(timeout=10) == "hello"
answer.close()
done = stream(core.connect_get_namespaced_pod_exec, "shell", "default", command=["sh", "-c", "echo out; exit 3"],
              stdin=False, stdout=True, stderr=True, tty=False, _preload_content=False)
done.run_forever(timeout=20)
assert (done.read_stdout(), done.returncode) == ("out\n", 3), done

for _ in range(2):
    forward = portforward(core.connect_get_namespaced_pod_portforward, "shell", "default", ports="8080")
    socket = forward.socket(8080)
    socket.setblocking(True)
    socket.settimeout(10)
    for size in (5, 100_000):
        socket.sendall(b"x" * size)
        got = b""
        while len(got) < size:
            got += socket.recv(65536)
    socket.close()
refused = portforward(core.connect_get_namespaced_pod_portforward, "shell", "default", ports="9")
socket = refused.socket(9)
socket.setblocking(True)
socket.settimeout(10)
assert socket.recv(10) == b""
assert "9" in (refused.error(9) or ""), refused.error(9)

settings = client.Configuration.get_default_copy()
def session(path, protocols):
    return websocket.create_connection(
        settings.host.replace("https", "wss") + path, subprotocols=protocols, timeout=20,
        sslopt={"ca_certs": settings.ssl_ca_cert, "certfile": settings.cert_file, "keyfile": settings.key_file})
def messages(path, protocols):
    opened = session(path, protocols)
    assert opened.subprotocol == (protocols[0] if protocols else None), opened.subprotocol
    all = []
    while True:
        kind, data = opened.recv_data()
        if kind == websocket.ABNF.OPCODE_CLOSE:
            return all
        all.append(data)
pod = "/api/v1/namespaces/default/pods/shell"
assert messages(pod + "/log", []) == [b"", b"one\ntwo\n"]
assert messages(pod + "/log", ["binary.k8s.io"]) == [b"", b"one\ntwo\n"]
assert messages(pod + "/log", ["base64.binary.k8s.io"]) == [b"", base64.b64encode(b"one\ntwo\n")]
run = pod + "/exec?stdout=true&command=sh&command=-c&command=echo+out%3Bexit+3"
for protocols in [[], ["channel.k8s.io"], ["v4.channel.k8s.io"], ["v5.channel.k8s.io"]]:
    first, out, result = messages(run, protocols)
    assert (first, out) == (b"\x01", b"\x01out\n"), (protocols, first, out)
    said = json.loads(result[1:])["message"] if protocols and protocols[0][0] == "v" else result[1:].decode()
    assert result[0] == 3 and "exit code 3" in said, result
for protocols in [["base64.channel.k8s.io"], ["v4.base64.channel.k8s.io"]]:
    first, out, result = messages(run, protocols)
    assert (first, out, result[:1]) == (b"1", b"1" + base64.b64encode(b"out\n"), b"3"), (protocols, first, out, result)
print("done")
"#;

#[test]
fn nothing_that_was_said_last_is_lost() {
    let cluster = Cluster::up("streams", 1);
    shell(&cluster);
    for _ in 0..3 {
        let read = read_slowly(&cluster, &format!("busybox head -c {MANY} /dev/zero; exit 7"));
        assert_eq!(read, (MANY, Some(7)));
    }
    let input = "x".repeat(MANY);
    for script in ["exit 9", "exit 9", "busybox head -c 1000 >/dev/null; exit 9"] {
        let mut command = cluster.kubectl_command(&["exec", "-i", "shell", "--", "sh", "-c", script]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.clone();
        let feeding = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        assert_eq!(child.wait().unwrap().code(), Some(9));
        drop(feeding.join());
    }
    // Killed while idle, and while it says what nobody takes.
    for feed in [false, true] {
        let mut command = cluster.kubectl_command(&["exec", "-i", "shell", "--", "sleep", "3600"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeding = std::thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            chunk.fill(b'x');
            while feed && stdin.write_all(&chunk).is_ok() {}
            stdin
        });
        eventually("the session is there", 30, || match sessions(&cluster) {
            (1, 1..) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        if feed {
            std::thread::sleep(Duration::from_secs(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("the session is gone", 30, || match sessions(&cluster) {
            (0, 0) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        drop(feeding.join());
    }
    let installed = Command::new("python3").args(["-c", "import kubernetes, websocket"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        return machinery::testing::skip("the package `kubernetes` is not installed for python3");
    }
    let output =
        Command::new("python3").args(["-c", PROGRAM]).env("KUBECONFIG", cluster.kubeconfig()).output();
    let output = output.expect("python3 can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "done", "{out}{err}");
}
