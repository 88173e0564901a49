//! A connection to the kernel's network configuration, bound to one network namespace.
//!
//! A netlink socket belongs to the namespace in which its thread was when it was opened, so
//! another namespace is worked on from a thread of its own that enters it and ends there: no
//! thread of a runtime ever changes its namespace. Upstream: `vishvananda/netlink`, `netns`.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use futures::TryStreamExt;
use machinery::tasks::Tasks;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use rtnetlink::Handle;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};

/// An open connection; ends with this value.
pub struct Netlink {
    handle: Handle,
    /// Owner of the one task that moves this connection's bytes.
    tasks: Tasks,
}

impl Netlink {
    /// Opens a connection to the namespace of the current thread. Needs a tokio runtime.
    pub fn open() -> std::io::Result<Netlink> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let tasks = Tasks::new();
        tasks.spawn_loop("netlink", async move {
            connection.await;
            Ok(())
        });
        Ok(Netlink { handle, tasks })
    }

    /// Returns when the connection has broken, after which every request fails.
    pub async fn broken(&self) {
        self.tasks.token().cancelled().await;
    }

    /// Links.
    pub fn link(&self) -> rtnetlink::LinkHandle {
        self.handle.link()
    }

    /// Addresses.
    pub fn address(&self) -> rtnetlink::AddressHandle {
        self.handle.address()
    }

    /// Routes.
    pub fn route(&self) -> rtnetlink::RouteHandle {
        self.handle.route()
    }

    /// Neighbours and forwarding entries.
    pub fn neighbours(&self) -> rtnetlink::NeighbourHandle {
        self.handle.neighbours()
    }

    /// The link of that name, or none.
    pub async fn find_link(&self, name: &str) -> Result<Option<Link>, rtnetlink::Error> {
        let found = self.link().get().match_name(name).execute().try_next().await;
        match found {
            Ok(message) => Ok(message.map(Link::from)),
            Err(error) if errno(&error) == Some(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the link of that name; false when there was none.
    pub async fn delete_link(&self, name: &str) -> Result<bool, rtnetlink::Error> {
        let Some(link) = self.find_link(name).await? else { return Ok(false) };
        match self.link().del(link.index).execute().await {
            Err(error) if errno(&error) == Some(Errno::ENODEV) => Ok(false),
            other => other.map(|()| true),
        }
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// What is asked about a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its MTU.
    pub mtu: u32,
    /// The bridge that it is a port of.
    pub controller: Option<u32>,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Link {
        let mut link =
            Link { index: message.header.index, name: String::new(), mac: [0; 6], mtu: 0, controller: None };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::Address(bytes) => link.mac = bytes.try_into().unwrap_or_default(),
                _ => {}
            }
        }
        link
    }
}

/// The kernel's error number, where the kernel gave one.
pub fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            message.code.map(|code| Errno::from_raw(code.get().saturating_neg()))
        }
        _ => None,
    }
}

/// Runs `work` on a thread of its own inside the network namespace at `path`, with a runtime of
/// its own. The error is that of entering.
pub fn in_namespace<T: Send>(path: &Path, work: impl AsyncFnOnce() -> T + Send) -> std::io::Result<T> {
    let namespace = File::open(path)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(work()))
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
