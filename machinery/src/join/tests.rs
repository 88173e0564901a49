use std::os::fd::AsFd as _;

use tokio::io::{DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::serve::HangUp;

/// Longer than anything may take that is over; shorter than [`LINGER`].
const SOON: Duration = Duration::from_secs(30);

struct Session {
    client: TcpStream,
    backend: DuplexStream,
    joined: JoinHandle<()>,
}

/// A client behind TCP, as in life, and a backend.
async fn session(end: ClientEnd, over: impl Future<Output = ()> + Send + 'static) -> Session {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let hang_up = HangUp::of(near.as_fd()).unwrap();
    let (backend, far) = duplex(64 * 1024);
    let joined = tokio::spawn(async move { join(near, far, end, hang_up.wait(), over).await });
    Session { client, backend, joined }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it takes no time")
}

/// Reads all, a little at a time; how much, and its end.
async fn slowly(mut from: impl AsyncRead + Unpin) -> (usize, Vec<u8>) {
    let (mut all, mut chunk) = (Vec::new(), vec![0; 256 * 1024]);
    loop {
        match from.read(&mut chunk).await.expect("nothing breaks") {
            0 => return (all.len(), all.split_off(all.len().saturating_sub(4))),
            read => all.extend_from_slice(&chunk[..read]),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_a_backend_said_last_arrives_while_the_client_goes_on_talking() {
    const MANY: usize = 16 << 20;
    let Session { client, mut backend, joined } = session(ClientEnd::Gone, pending()).await;
    let (from, mut to) = client.into_split();
    let talking = tokio::spawn(async move {
        // Nobody ever reads this, neither while the session lasts nor afterwards.
        while to.write_all(&[7; 1024]).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    let reading = tokio::spawn(slowly(from));
    backend.write_all(&vec![1; MANY]).await.unwrap();
    backend.write_all(b"exit").await.unwrap();
    drop(backend);
    assert_eq!(soon(reading).await.unwrap(), (MANY + 4, b"exit".to_vec()));
    talking.abort();
    let _cancelled = talking.await;
    soon(joined).await.unwrap();
}

#[tokio::test]
async fn a_client_that_only_stops_sending_still_listens() {
    let Session { mut client, mut backend, joined } = session(ClientEnd::Half, pending()).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut question = String::new();
    soon(backend.read_to_string(&mut question)).await.unwrap();
    assert_eq!(question, "question");
    sleep(2 * PARTING).await;
    backend.write_all(b"answer").await.unwrap();
    drop(backend);
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "answer");
    soon(joined).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_takes_the_session_with_it() {
    // Whether it was idle, is being told something, or was saying what the backend does not take. Of that its system has
    // still some when it is gone, and only says so when it is told something.
    for (tells, told) in [(0, 0), (0, 8 << 20), (8 << 20, 1)] {
        let Session { mut client, backend, joined } = session(ClientEnd::Gone, pending()).await;
        let (mut from, mut to) = tokio::io::split(backend);
        let full = vec![2; tells];
        let _full = tokio::time::timeout(Duration::from_millis(500), client.write_all(&full)).await;
        drop(client);
        let telling = tokio::spawn(async move { to.write_all(&vec![1; told]).await });
        soon(joined).await.unwrap();
        soon(from.read_to_end(&mut Vec::new())).await.unwrap();
        let _broken = soon(telling).await.unwrap();
    }
}

#[tokio::test]
async fn a_backend_that_never_ends_is_heard_to_its_last_word() {
    const MANY: usize = 16 << 20;
    let Session { client, mut backend, joined } = session(ClientEnd::Gone, std::future::ready(())).await;
    let telling = tokio::spawn(async move {
        backend.write_all(&vec![1; MANY]).await.unwrap();
        backend.write_all(b"last").await.unwrap();
        backend.read_to_end(&mut Vec::new()).await
    });
    assert_eq!(soon(slowly(client)).await, (MANY + 4, b"last".to_vec()));
    soon(joined).await.unwrap();
    soon(telling).await.unwrap().unwrap();
}
