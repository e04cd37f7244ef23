// SPDX-License-Identifier: MIT
//! From a name to a connected socket.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::Shared;
use super::failure::{Failure, plain, socket_code};
use super::target::Target;
use crate::sys;

/// Enough for a server with both protocols and some redundancy; each gets its share of the timeout.
const MAX_ADDRESSES: usize = 8;
/// A server that acknowledges nothing for this long is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(15);

/// All addresses of the target's host, in the system's order. Blocks as long as the system's resolver does.
pub fn resolve(target: &Target) -> Result<Vec<SocketAddr>, Failure> {
    let failed = |why: &str| Failure::new("dns", format!("cannot resolve '{}': {why}", target.host));
    let found = (target.host.as_str(), target.port).to_socket_addrs().map_err(|cause| {
        let text = plain(&cause);
        failed(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text))
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(failed("the name has no address")) } else { Ok(addresses) }
}

/// The first address that takes a connection before the deadline; each may use an equal share of what is left.
pub fn connect(
    target: &Target,
    addresses: &[SocketAddr],
    shared: &Shared,
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let mut refusals: Vec<(SocketAddr, io::Error)> = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let rest = deadline.saturating_duration_since(Instant::now());
        let share = Instant::now() + rest / (addresses.len() - index) as u32;
        match connect_one(address, shared, share) {
            Ok(Some(socket)) => return Ok(socket),
            Ok(None) => return Err(Failure::local()),
            Err(cause) => refusals.push((*address, cause)),
        }
    }
    Err(no_connection(target, &refusals))
}

/// None: closed by its owner meanwhile.
fn connect_one(address: &SocketAddr, shared: &Shared, deadline: Instant) -> io::Result<Option<TcpStream>> {
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(5)).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    match socket.connect(&(*address).into()) {
        Err(cause) if cause.raw_os_error() != Some(libc::EINPROGRESS) => return Err(cause),
        _ => {}
    }
    loop {
        if shared.closing() {
            return Ok(None);
        }
        let mut fds = [sys::interest(&socket, libc::POLLOUT), sys::interest(&shared.wake, libc::POLLIN)];
        sys::poll(&mut fds, Some(deadline))?;
        if fds[1].revents != 0 {
            shared.wake.clear();
        } else if fds[0].revents != 0 {
            return match socket.take_error()? {
                Some(cause) => Err(cause),
                None => Ok(Some(socket.into())),
            };
        } else if Instant::now() >= deadline {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
    }
}

/// One sentence for all addresses; its code is the most telling one: somebody refused, nobody answered, there was no way.
fn no_connection(target: &Target, refusals: &[(SocketAddr, io::Error)]) -> Failure {
    let codes: Vec<&str> = refusals.iter().map(|(_, cause)| socket_code(cause)).collect();
    let code = ["refused", "reset", "timeout", "unreachable"].into_iter().find(|code| codes.contains(code));
    let each: Vec<String> =
        refusals.iter().map(|(address, cause)| format!("{}: {}", address.ip(), plain(cause))).collect();
    Failure::new(code.unwrap_or("internal"), format!("cannot connect to {}: {}", target.place(), each.join("; ")))
}
