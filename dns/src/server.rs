//! One port: datagrams and streams in, answers out. What is known is answered where the datagram was read; only who
//! has to be asked gets a task.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use machinery::CancellationToken;
use machinery::serve::Strangers;
use machinery::tasks::Tasks;
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::chain::Chain;
use crate::message::Asked;
use crate::metrics::Metrics;
use crate::reply::{self, Question, Reply};

/// Datagrams read before others get their turn.
const BURST: usize = 64;
/// Streams open at a time.
const MAX_STREAMS: usize = 512;
/// Those of one address: for the next its oldest is closed.
const MAX_OF_ONE: usize = MAX_STREAMS / 4;
/// How long a stream may be idle (RFC 7766 leaves it to the server), and an answer be taken.
const IDLE: Duration = Duration::from_secs(10);
/// Questions of one stream that are worked on at a time; further ones wait.
const PIPELINED: usize = 32;
/// What a question has room in, over TCP too.
const LARGEST_QUESTION: u16 = 4096;

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

/// A question under way.
struct UnderWay {
    asked: Asked,
    /// The blocks of its port, and which of them is for it.
    chosen: Option<(Arc<Vec<Chain>>, usize)>,
    over_tcp: bool,
    from: SocketAddr,
    begun: Instant,
}

impl UnderWay {
    /// The question and who answers it, or what to say instead.
    fn question(&self) -> Result<(&Question, &Chain), ResponseCode> {
        let question = self.asked.question.as_ref().map_err(|code| *code)?;
        let (chains, at) = self.chosen.as_ref().ok_or(ResponseCode::Refused)?;
        Ok((question, &chains[*at]))
    }

    /// The answer that needs nobody else; none if others have to be asked.
    fn at_once(&self) -> Option<Reply> {
        match self.question() {
            Ok((question, chain)) => chain.at_once(question),
            Err(code) => Some(Reply::empty(code)),
        }
    }

    async fn answer(&self) -> Reply {
        match self.question() {
            Ok((question, chain)) => chain.answer(question, self.over_tcp).await,
            Err(code) => Reply::empty(code),
        }
    }

    /// Counts and logs an answer, and writes it down.
    fn finish(self, reply: Reply, metrics: &Metrics) -> Option<Vec<u8>> {
        let (protocol, room) = if self.over_tcp { ("tcp", u16::MAX) } else { ("udp", self.asked.room()) };
        let (code, took) = (reply::code(reply.code), self.begun.elapsed());
        let question = self.question().ok();
        metrics.answered(protocol, question.map(|(question, _)| question.kind), code, took);
        let logged = question.filter(|(question, chain)| chain.logs(&question.name, &reply));
        let answer = self.asked.answer(reply, room);
        if let (Some(_), Some(query)) = (logged, self.asked.query()) {
            tracing::info!(
                from = %self.from,
                query = %format_args!("{} {} {}", query.query_type(), query.query_class(), query.name()),
                protocol,
                code,
                bytes = answer.as_ref().map_or(0, Vec::len),
                seconds = took.as_secs_f64(),
                "Answered"
            );
        }
        answer
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
        let Some(question) = self.begin(bytes, false, from) else { return };
        if let Some(reply) = question.at_once() {
            send(socket, question.finish(reply, &self.metrics), from).await;
            return;
        }
        let (metrics, socket) = (self.metrics.clone(), Arc::clone(socket));
        self.tasks.spawn_finite("question", async move {
            let reply = question.answer().await;
            send(&socket, question.finish(reply, &metrics), from).await;
        });
    }

    async fn streams(self, listener: TcpListener, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(MAX_STREAMS));
        let strangers = Strangers::new(MAX_OF_ONE);
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, from)) => {
                    let (this, stop, stranger) = (self.clone(), stop.clone(), strangers.arrive(from.ip()));
                    self.tasks.spawn_finite("stream", async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = stranger.sent_away.cancelled() => {}
                            ended = this.stream(stream, from) => if let Err(error) = ended {
                                tracing::debug!(%from, %error, "A stream ended");
                            }
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
                let Ok(length @ ..=LARGEST_QUESTION) = timeout(IDLE, reader.read_u16()).await? else { break };
                let mut bytes = vec![0; length.into()];
                timeout(IDLE, reader.read_exact(&mut bytes)).await??;
                let Some(question) = self.begin(&bytes, true, from) else { break };
                let place = Arc::clone(&under_way).acquire_owned().await.map_err(io::Error::other)?;
                let (metrics, answers) = (self.metrics.clone(), answers.clone());
                self.tasks.spawn_finite("question", async move {
                    let reply = question.answer().await;
                    if let Some(answer) = question.finish(reply, &metrics) {
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

    /// Reads a question and chooses who answers it; none if nobody is to.
    fn begin(&self, bytes: &[u8], over_tcp: bool, from: SocketAddr) -> Option<UnderWay> {
        let begun = Instant::now();
        let asked = Asked::read(bytes)?;
        let chosen = asked.question.as_ref().ok().and_then(|question| {
            let chains = Arc::clone(&self.chains.read());
            let fitting =
                chains.iter().enumerate().filter_map(|(at, chain)| Some((chain.fits(&question.name)?, at)));
            let (_, at) = fitting.max_by_key(|(labels, _)| *labels)?;
            Some((chains, at))
        });
        Some(UnderWay { asked, chosen, over_tcp, from, begun })
    }
}

async fn send(socket: &UdpSocket, answer: Option<Vec<u8>>, to: SocketAddr) {
    let Some(answer) = answer else { return };
    if let Err(error) = socket.send_to(&answer, to).await {
        tracing::debug!(%to, %error, "Cannot send an answer");
    }
}

#[cfg(test)]
mod tests;
