// SPDX-License-Identifier: MIT
//! The local control socket: one thread serves all connections; a request line becomes a record, the answer comes by `reply`.

mod client;
mod connection;
mod listener;

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipop_base::{Error, EventFd, Handle, RecordQueue, RecordType, Result};

use crate::sys;
pub use client::control_call;
use connection::{Connection, Step};
use listener::Listener;

/// People and LuCI ask one at a time.
const MAX_CONNECTIONS: usize = 8;
/// Status of a large network, printed.
const MAX_REPLY: usize = 1 << 20;
/// Out of descriptors the listener stays readable: without a pause the thread would spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A listening control socket. Its path is removed when it stops.
#[derive(Debug)]
pub struct Control {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    wake: EventFd,
    desk: Mutex<Desk>,
}

/// Where requests wait for their answers, and answers for the thread.
#[derive(Debug, Default)]
struct Desk {
    /// None: asked, Some: answered, not fetched yet.
    answers: HashMap<Handle, Option<Vec<u8>>>,
    stopping: bool,
}

impl Control {
    /// Listens at `path` (mode 0660; the last folder is made, 0755, if missing). A dead socket of that name is replaced. EADDRINUSE: a live daemon
    /// answers there; EEXIST: something is there that is no socket; else an errno of the file system.
    pub fn listen(queue: Arc<RecordQueue>, path: &str) -> Result<Arc<Self>> {
        let listener = Listener::bind(path)?;
        let shared = Arc::new(Shared { wake: EventFd::new()?, desk: Mutex::default() });
        let server = Server {
            queue,
            shared: shared.clone(),
            listener,
            connections: Vec::new(),
            reserve: None,
            accept_again: None,
        };
        let thread = sys::spawn("control", move || server.run())?;
        Ok(Arc::new(Self { shared, thread: Mutex::new(Some(thread)) }))
    }

    /// Sends the answer to a request and closes its connection. EMSGSIZE: over 1 MiB; ENOENT: no such request, it was answered, or its
    /// asker has gone.
    pub fn reply(&self, connection: Handle, data: &[u8]) -> Result<()> {
        if data.len() > MAX_REPLY {
            return Err(Error::new(libc::EMSGSIZE, format!("an answer of {} bytes is over {MAX_REPLY}", data.len())));
        }
        match self.shared.lock().answers.get_mut(&connection) {
            Some(answer @ None) => *answer = Some(data.to_vec()),
            _ => return Err(Error::new(libc::ENOENT, format!("control request {connection} waits for no answer"))),
        }
        self.shared.wake.signal();
        Ok(())
    }

    /// Closes every connection, removes the path and joins the thread (which never blocks but in poll).
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.wake.signal();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Server {
    queue: Arc<RecordQueue>,
    shared: Arc<Shared>,
    listener: Listener,
    connections: Vec<Connection>,
    /// Given up for a connection when there is no other descriptor: just then people want to ask.
    reserve: Option<File>,
    /// The listener is left alone until then.
    accept_again: Option<Instant>,
}

impl Server {
    fn run(mut self) {
        while !self.shared.lock().stopping {
            if self.reserve.is_none() {
                self.reserve = File::open("/dev/null").ok();
            }
            let Ok(ready) = self.wait() else { break };
            self.shared.wake.clear();
            if ready[1].revents != 0 {
                self.accept();
            }
            self.fetch_answers();
            // Those accepted just now have no place in `ready`; their turn comes with the next poll.
            let hung_up =
                |index: usize| ready.get(index + 2).is_some_and(|fd| fd.revents & (libc::POLLHUP | libc::POLLERR) != 0);
            let gone: Vec<bool> = (0..self.connections.len()).map(hung_up).collect();
            self.step_all(&gone);
        }
        for connection in &mut self.connections {
            connection.refuse("stopping", "ipop is stopping");
        }
    }

    fn wait(&self) -> std::io::Result<Vec<libc::pollfd>> {
        let accept_again = self.accept_again.filter(|&at| at > Instant::now());
        let accept = if accept_again.is_some() { 0 } else { libc::POLLIN };
        let mut fds =
            vec![sys::interest(&self.shared.wake, libc::POLLIN), sys::interest(self.listener.socket(), accept)];
        fds.extend(self.connections.iter().map(Connection::interest));
        let deadline = self.connections.iter().map(Connection::deadline).chain(accept_again).min();
        sys::poll(&mut fds, deadline)?;
        Ok(fds)
    }

    /// One a turn, so that a flood of connections starves nobody.
    fn accept(&mut self) {
        let Some(socket) = self.accept_one() else { return };
        let mut connection = Connection::new(socket);
        if let Err(why) = self.listener.admit(connection.socket()) {
            connection.refuse("not-permitted", &why);
        } else if self.connections.len() >= MAX_CONNECTIONS {
            connection.refuse("busy", &format!("{MAX_CONNECTIONS} control connections are open already"));
        } else {
            self.connections.push(connection);
        }
    }

    fn accept_one(&mut self) -> Option<UnixStream> {
        let listener = self.listener.socket();
        let mut accepted = listener.accept();
        if accepted.as_ref().is_err_and(is_out_of_descriptors) && self.reserve.take().is_some() {
            accepted = listener.accept();
        }
        match accepted {
            Ok((socket, _)) => socket.set_nonblocking(true).is_ok().then_some(socket),
            Err(cause) => {
                if cause.kind() != ErrorKind::WouldBlock {
                    self.accept_again = Some(Instant::now() + ACCEPT_AGAIN);
                }
                None
            }
        }
    }

    fn fetch_answers(&mut self) {
        let mut desk = self.shared.lock();
        for connection in &mut self.connections {
            if let Some(answer) = desk.answers.get_mut(&connection.handle()).and_then(Option::take) {
                desk.answers.remove(&connection.handle());
                connection.answer(answer);
            }
        }
    }

    fn step_all(&mut self, gone: &[bool]) {
        let now = Instant::now();
        let mut index = 0;
        let (queue, shared) = (&self.queue, &self.shared);
        self.connections.retain_mut(|connection| {
            let hung_up = gone.get(index).copied().unwrap_or(false);
            index += 1;
            let keep = match connection.step(now, hung_up) {
                Step::Wait => true,
                Step::Request(line) => ask(queue, shared, connection, &line),
                Step::Close => false,
            };
            if !keep {
                shared.lock().answers.remove(&connection.handle());
            }
            keep
        });
    }
}

/// False when the request could not be handed on.
fn ask(queue: &RecordQueue, shared: &Shared, connection: &mut Connection, line: &[u8]) -> bool {
    // Before the record: its reader may answer at once.
    shared.lock().answers.insert(connection.handle(), None);
    let asked = queue.push(RecordType::CtlRequest, connection.handle(), &[line]);
    if !asked {
        connection.refuse("busy", "ipop has too much to do just now");
    }
    asked
}

fn is_out_of_descriptors(cause: &std::io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
