//! One port: datagrams and streams in, answers out. What is known is answered where the datagram was read; only who
//! has to be asked gets a task.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use machinery::CancellationToken;
use machinery::tasks::Tasks;
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::chain::Chain;
use crate::message::Asked;
use crate::metrics::Metrics;
use crate::reply::Reply;

/// Datagrams read before others get their turn.
const BURST: usize = 64;
/// Streams open at a time.
const MAX_STREAMS: usize = 512;
/// How long a stream may be idle (RFC 7766 leaves it to the server), and an answer be taken.
const IDLE: Duration = Duration::from_secs(10);
/// Questions of one stream that are worked on at a time; further ones wait.
const PIPELINED: usize = 32;

/// The server blocks of one port, exchanged when the Corefile changes.
pub type Chains = Arc<RwLock<Arc<Vec<Chain>>>>;

/// A port that is served.
pub struct Port {
    /// What is served there.
    pub chains: Chains,
    /// The address that was bound.
    pub address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Binds a port for datagrams and streams, and serves it until it is dropped.
///
/// # Errors
/// Those of binding.
pub async fn serve(port: u16, chains: Vec<Chain>, metrics: Metrics, tasks: &Tasks) -> io::Result<Port> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    let address = listener.local_addr()?;
    let socket = Arc::new(UdpSocket::bind(address).await?);
    let chains: Chains = Arc::new(RwLock::new(Arc::new(chains)));
    let stop = tasks.child();
    let answering = Answering { chains: Arc::clone(&chains), metrics, tasks: tasks.clone() };
    let datagrams = answering.clone().datagrams(socket);
    let streams = answering.streams(listener, stop.clone());
    let stopped = stop.clone();
    tasks.spawn_finite("datagrams", async move {
        stopped.run_until_cancelled(datagrams).await;
    });
    let stopped = stop.clone();
    tasks.spawn_finite("streams", async move {
        stopped.run_until_cancelled(streams).await;
    });
    Ok(Port { chains, address, stop })
}

#[derive(Clone)]
struct Answering {
    chains: Chains,
    metrics: Metrics,
    tasks: Tasks,
}

/// The block for a question among those of a port.
struct Chosen(Arc<Vec<Chain>>, usize);

impl Chosen {
    fn chain(&self) -> &Chain {
        &self.0[self.1]
    }
}

impl Answering {
    async fn datagrams(self, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; 4096];
        let mut read = 0;
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, from)) => self.datagram(&socket, &buffer[..length], from).await,
                // Nobody listens where an earlier answer went.
                Err(error) => tracing::debug!(%error, "Cannot read a datagram"),
            }
            read += 1;
            if read % BURST == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn datagram(&self, socket: &Arc<UdpSocket>, bytes: &[u8], from: SocketAddr) {
        let begun = Instant::now();
        let Some(asked) = Asked::read(bytes) else { return };
        let room = asked.room();
        if let Some(reply) = self.at_once(&asked) {
            let answer = self.finish(&asked, reply, room, "udp", from, begun);
            send(socket, answer, from).await;
            return;
        }
        let (this, socket) = (self.clone(), Arc::clone(socket));
        self.tasks.spawn_finite("question", async move {
            let reply = this.answer(&asked, false).await;
            let answer = this.finish(&asked, reply, room, "udp", from, begun);
            send(&socket, answer, from).await;
        });
    }

    async fn streams(self, listener: TcpListener, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(MAX_STREAMS));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, from)) => {
                    let (this, stop) = (self.clone(), stop.clone());
                    self.tasks.spawn_finite("stream", async move {
                        if let Some(Err(error)) = stop.run_until_cancelled(this.stream(stream, from)).await {
                            tracing::debug!(%from, %error, "A stream ended");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "Cannot accept a stream");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Answers the questions of a stream, in the order in which the answers are there (RFC 7766, 6.2.1.1).
    async fn stream(&self, stream: TcpStream, from: SocketAddr) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = stream.into_split();
        let (answers, mut ready) = tokio::sync::mpsc::channel::<Vec<u8>>(PIPELINED);
        let writing = async {
            while let Some(answer) = ready.recv().await {
                let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
                let framed = [&length.to_be_bytes()[..], &answer].concat();
                timeout(IDLE, writer.write_all(&framed)).await??;
            }
            Ok(())
        };
        let under_way = Arc::new(Semaphore::new(PIPELINED));
        let reading = async {
            loop {
                let Ok(length) = timeout(IDLE, reader.read_u16()).await? else { break };
                let mut bytes = vec![0; length.into()];
                timeout(IDLE, reader.read_exact(&mut bytes)).await??;
                let begun = Instant::now();
                let Some(asked) = Asked::read(&bytes) else { break };
                let place = Arc::clone(&under_way).acquire_owned().await.map_err(io::Error::other)?;
                let (this, answers) = (self.clone(), answers.clone());
                self.tasks.spawn_finite("question", async move {
                    let reply = match this.at_once(&asked) {
                        Some(reply) => reply,
                        None => this.answer(&asked, true).await,
                    };
                    if let Some(answer) = this.finish(&asked, reply, u16::MAX, "tcp", from, begun) {
                        drop(answers.send(answer).await);
                    }
                    drop(place);
                });
            }
            drop(answers);
            Ok::<_, io::Error>(())
        };
        tokio::try_join!(reading, writing).map(drop)
    }

    fn chosen(&self, asked: &Asked) -> Option<Chosen> {
        let name = &asked.question.as_ref().ok()?.name;
        let chains = Arc::clone(&self.chains.read());
        let fitting = chains.iter().enumerate().filter_map(|(at, chain)| Some((chain.fits(name)?, at)));
        let (_, at) = fitting.max_by_key(|(labels, _)| *labels)?;
        Some(Chosen(chains, at))
    }

    fn at_once(&self, asked: &Asked) -> Option<Reply> {
        let question = match &asked.question {
            Ok(question) => question,
            Err(code) => return Some(Reply::empty(*code)),
        };
        match self.chosen(asked) {
            Some(chosen) => chosen.chain().at_once(question),
            None => Some(Reply::empty(ResponseCode::Refused)),
        }
    }

    async fn answer(&self, asked: &Asked, over_tcp: bool) -> Reply {
        match (&asked.question, self.chosen(asked)) {
            (Ok(question), Some(chosen)) => chosen.chain().answer(question, over_tcp).await,
            _ => Reply::empty(ResponseCode::Refused),
        }
    }

    /// Counts and logs an answer, and writes it down.
    fn finish(
        &self,
        asked: &Asked,
        reply: Reply,
        room: u16,
        protocol: &'static str,
        from: SocketAddr,
        begun: Instant,
    ) -> Option<Vec<u8>> {
        let code = reply.code;
        self.metrics.answered(protocol, code, begun.elapsed());
        let logged = self.chosen(asked).is_some_and(|chosen| chosen.chain().logs(asked, &reply));
        let answer = asked.answer(reply, room);
        if logged && let Some(query) = asked.query() {
            tracing::info!(
                %from,
                query = %format_args!("{} {} {}", query.query_type(), query.query_class(), query.name()),
                protocol,
                code = code.to_str(),
                bytes = answer.as_ref().map_or(0, Vec::len),
                seconds = begun.elapsed().as_secs_f64(),
                "Answered"
            );
        }
        answer
    }
}

async fn send(socket: &UdpSocket, answer: Option<Vec<u8>>, to: SocketAddr) {
    let Some(answer) = answer else { return };
    if let Err(error) = socket.send_to(&answer, to).await {
        tracing::debug!(%to, %error, "Cannot send an answer");
    }
}
