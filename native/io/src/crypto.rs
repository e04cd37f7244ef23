// SPDX-License-Identifier: MIT
//! Random bytes, hashes, HMAC, and key derivation on a thread of its own. All of it is ring's.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipop_base::{Error, Handle, RecordQueue, RecordType, Result, next_handle};
use ring::rand::SecureRandom;

use crate::sys;

const MAX_ROUNDS: u32 = 10_000_000;
/// One login derives one key; more wait only when many networks log in at once.
const MAX_WAITING: usize = 8;
/// Passwords and salts are short; this bounds what the waiting ones hold.
const MAX_INPUT: usize = 4096;
const STOP_WITHIN: Duration = Duration::from_millis(500);
const TELL_WITHIN: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);

/// IPOP_SHA1 and IPOP_SHA256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// Only for SCRAM-SHA-1.
    Sha1,
    /// 32 bytes.
    Sha256,
}

impl HashAlgorithm {
    /// By its number in ipop.h; EINVAL when there is none such.
    pub fn from_number(number: i32) -> Result<Self> {
        match number {
            1 => Ok(Self::Sha1),
            2 => Ok(Self::Sha256),
            other => Err(Error::new(libc::EINVAL, format!("there is no hash algorithm {other}"))),
        }
    }

    /// Length of its digest in bytes.
    pub fn digest_len(self) -> usize {
        self.digest().output_len()
    }

    fn digest(self) -> &'static ring::digest::Algorithm {
        match self {
            Self::Sha1 => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &ring::digest::SHA256,
        }
    }

    fn hmac(self) -> ring::hmac::Algorithm {
        match self {
            Self::Sha1 => ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => ring::hmac::HMAC_SHA256,
        }
    }

    fn pbkdf2(self) -> ring::pbkdf2::Algorithm {
        match self {
            Self::Sha1 => ring::pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => ring::pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }
}

/// Fills `buf` from the kernel's generator; EIO when it fails.
pub fn random(buf: &mut [u8]) -> Result<()> {
    ring::rand::SystemRandom::new().fill(buf).map_err(|_| Error::new(libc::EIO, "the kernel gives no random bytes"))
}

/// The digest of `data`.
pub fn hash(algorithm: HashAlgorithm, data: &[u8]) -> Vec<u8> {
    ring::digest::digest(algorithm.digest(), data).as_ref().to_vec()
}

/// HMAC (RFC 2104) of `data`.
pub fn hmac(algorithm: HashAlgorithm, key: &[u8], data: &[u8]) -> Vec<u8> {
    ring::hmac::sign(&ring::hmac::Key::new(algorithm.hmac(), key), data).as_ref().to_vec()
}

/// Derives keys on one thread, which is started by the first request.
#[derive(Debug)]
pub struct Pbkdf2 {
    queue: Arc<RecordQueue>,
    worker: Mutex<Option<Worker>>,
    stopping: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Worker {
    requests: SyncSender<Request>,
    thread: JoinHandle<()>,
}

struct Request {
    handle: Handle,
    algorithm: HashAlgorithm,
    rounds: NonZeroU32,
    password: Vec<u8>,
    salt: Vec<u8>,
}

impl Pbkdf2 {
    /// No thread yet; records go to `queue`.
    pub fn new(queue: Arc<RecordQueue>) -> Self {
        Self { queue, worker: Mutex::default(), stopping: Arc::default() }
    }

    /// RFC 8018 PBKDF2-HMAC with a derived length of one digest; record PBKDF2 follows under the handle that is returned.
    /// EINVAL: rounds not 1 to 10 000 000, or over 4 KiB of password or salt; EAGAIN: 8 wait already.
    pub fn start(&self, algorithm: HashAlgorithm, password: &[u8], salt: &[u8], rounds: u32) -> Result<Handle> {
        let rounds = NonZeroU32::new(rounds)
            .filter(|rounds| rounds.get() <= MAX_ROUNDS)
            .ok_or_else(|| Error::new(libc::EINVAL, format!("PBKDF2 rounds {rounds} are not 1 to {MAX_ROUNDS}")))?;
        if password.len().max(salt.len()) > MAX_INPUT {
            return Err(Error::new(libc::EINVAL, format!("PBKDF2 password or salt is over {MAX_INPUT} bytes")));
        }
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = match worker.take() {
            Some(running) => worker.insert(running),
            None => worker.insert(self.spawn()?),
        };
        let handle = next_handle();
        let request = Request { handle, algorithm, rounds, password: password.to_vec(), salt: salt.to_vec() };
        worker.requests.try_send(request).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::new(libc::EAGAIN, format!("{MAX_WAITING} key derivations wait already")),
            TrySendError::Disconnected(_) => Error::new(libc::EIO, "the key derivation thread is gone"),
        })?;
        Ok(handle)
    }

    /// Drops what waits and joins the thread within 0.5 s. False: it is in the middle of a derivation, which cannot be interrupted; it is left
    /// detached and ends by itself, without a record.
    pub fn stop(&self) -> bool {
        self.stopping.store(true, Ordering::Release);
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Worker { requests, thread }) = worker else { return true };
        drop(requests);
        let deadline = Instant::now() + STOP_WITHIN;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(TICK);
        }
        thread.join().is_ok()
    }

    fn spawn(&self) -> Result<Worker> {
        let (requests, inbox) = sync_channel(MAX_WAITING);
        let (queue, stopping) = (self.queue.clone(), self.stopping.clone());
        self.stopping.store(false, Ordering::Release);
        let thread = sys::spawn("pbkdf2", move || work(&inbox, &queue, &stopping))?;
        Ok(Worker { requests, thread })
    }
}

impl Drop for Pbkdf2 {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work(inbox: &Receiver<Request>, queue: &RecordQueue, stopping: &AtomicBool) {
    while let Ok(request) = inbox.recv() {
        if stopping.load(Ordering::Acquire) {
            return;
        }
        let mut key = vec![0u8; request.algorithm.digest_len()];
        let algorithm = request.algorithm.pbkdf2();
        ring::pbkdf2::derive(algorithm, request.rounds, &request.salt, &request.password, &mut key);
        let give_up = Instant::now() + TELL_WITHIN;
        // A full queue may empty soon, and the one who asked waits for nothing else.
        while !stopping.load(Ordering::Acquire)
            && !queue.push(RecordType::Pbkdf2, request.handle, &[&key])
            && Instant::now() < give_up
        {
            std::thread::sleep(TICK);
        }
    }
}
