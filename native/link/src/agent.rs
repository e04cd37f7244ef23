// SPDX-License-Identifier: MIT
//! The only place that calls libdatachannel. Callbacks carry a link's handle, never a pointer: one that comes late finds
//! nothing in the registry and does nothing. Callbacks run on libdatachannel's threads and never delete anything.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Arc, Once, PoisonError, RwLock};

use datachannel_sys as rtc;
use ipop_base::{Error, Handle, Result};

use crate::candidate::{self, Candidate};
use crate::juice_guard;
use crate::link::Link;
use crate::sdp::{Description, MAX_MESSAGE, MEDIA_ID};
use crate::threads::undisturbed;

/// With libdatachannel's 48 bytes for IPv6 and UDP headers off, DTLS flights stay within 1200 bytes of UDP payload, and so
/// do SCTP packets, which it makes another 60 bytes smaller.
const MTU: c_int = 1248;
/// Label of the control channel.
const LABEL: &CStr = c"ipop";
const MEDIA: &CStr = c"video";
/// Control messages are small; libdatachannel's default of 1 MiB for each link is not for routers.
const SCTP_BUFFER: c_int = 64 * 1024;
/// SCTP's own look whether the peer is there: once a day, as reports tell within seconds. Its answer is sent by a receiving thread,
/// which must not wait for a relay's lock (see `Link`).
const SCTP_HEARTBEAT_MS: c_int = 24 * 3600 * 1000;

static REGISTRY: RwLock<Option<HashMap<Handle, Arc<Link>>>> = RwLock::new(None);

/// Lets callbacks find the link.
pub fn register(link: &Arc<Link>) {
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    registry.get_or_insert_with(HashMap::new).insert(link.handle(), link.clone());
}

/// From now on callbacks of this link do nothing.
pub fn unregister(handle: Handle) {
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    registry.get_or_insert_with(HashMap::new).remove(&handle);
}

fn find(pointer: *mut c_void) -> Option<Arc<Link>> {
    let handle = pointer.addr() as Handle;
    REGISTRY.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(&handle).cloned()
}

fn user_pointer(handle: Handle) -> *mut c_void {
    std::ptr::without_provenance_mut(handle as usize)
}

/// Settings of the whole process; made once, before the first agent.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the callback is a plain function, and the settings are copied before the call returns.
        unsafe {
            rtc::rtcInitLogger(rtc::rtcLogLevel_RTC_LOG_ERROR, Some(on_log));
            let mut settings: rtc::rtcSctpSettings = std::mem::zeroed();
            settings.sendBufferSize = SCTP_BUFFER;
            settings.recvBufferSize = SCTP_BUFFER;
            settings.heartbeatIntervalMs = SCTP_HEARTBEAT_MS;
            rtc::rtcSetSctpSettings(&settings);
        }
    });
}

/// Ends libdatachannel's own threads. Only when no agent is left. May wait up to 10 s.
pub fn cleanup() {
    // SAFETY: no preconditions.
    unsafe { rtc::rtcCleanup() }
}

/// One PeerConnection. Its methods may block and belong to worker threads.
#[derive(Debug)]
pub struct Agent(c_int);

impl Agent {
    /// Makes an agent whose callbacks find the link by its handle.
    pub fn create(handle: Handle, servers: &[String]) -> Result<Self> {
        let servers: Vec<CString> = servers.iter().map(|server| c_string(server)).collect::<Result<_>>()?;
        let mut pointers: Vec<*const c_char> = servers.iter().map(|server| server.as_ptr()).collect();
        // SAFETY: rtcConfiguration is plain data for which zero means default; its pointers live until the call returns, which
        // copies them.
        let pc = unsafe {
            let mut config: rtc::rtcConfiguration = std::mem::zeroed();
            config.iceServers = pointers.as_mut_ptr();
            config.iceServersCount = pointers.len() as c_int;
            config.disableAutoNegotiation = true;
            config.forceMediaTransport = true;
            config.mtu = MTU;
            config.maxMessageSize = MAX_MESSAGE as c_int;
            rtc::rtcCreatePeerConnection(&config)
        };
        checked(pc, "cannot make an agent (servers?)")?;
        // SAFETY: pc is live, the callbacks are plain functions, the pointer is a number in disguise.
        unsafe {
            rtc::rtcSetUserPointer(pc, user_pointer(handle));
            rtc::rtcSetLocalDescriptionCallback(pc, Some(on_description));
            rtc::rtcSetLocalCandidateCallback(pc, Some(on_candidate));
            rtc::rtcSetGatheringStateChangeCallback(pc, Some(on_gathering));
            rtc::rtcSetStateChangeCallback(pc, Some(on_state));
            rtc::rtcSetIceStateChangeCallback(pc, Some(on_ice));
            rtc::rtcSetDataChannelCallback(pc, Some(on_channel));
            rtc::rtcSetTrackCallback(pc, Some(on_track));
        }
        Ok(Self(pc))
    }

    /// Adds the media section and the control channel, and makes the offer: description and candidates follow by callback.
    pub fn offer(&self, link: &Link) -> Result<()> {
        // SAFETY: rtcTrackInit is plain data for which zero means default; its strings are static.
        let track = unsafe {
            let mut init: rtc::rtcTrackInit = std::mem::zeroed();
            init.direction = rtc::rtcDirection_RTC_DIRECTION_SENDRECV;
            init.codec = rtc::rtcCodec_RTC_CODEC_H264;
            init.payloadType = c_int::from(crate::rtp::PAYLOAD_TYPE);
            init.ssrc = 1;
            init.mid = MEDIA.as_ptr();
            init.name = LABEL.as_ptr();
            rtc::rtcAddTrackEx(self.0, &init)
        };
        checked(track, "cannot add the media section")?;
        link.adopt_track(track);
        // SAFETY: pc is live, the label is static.
        let channel = unsafe { rtc::rtcCreateDataChannel(self.0, LABEL.as_ptr()) };
        checked(channel, "cannot add the control channel")?;
        link.adopt_channel(channel);
        // SAFETY: pc is live, the type is static.
        checked(unsafe { rtc::rtcSetLocalDescription(self.0, c"offer".as_ptr()) }, "cannot make the offer")
    }

    /// Takes the peer's description; an answerer then makes its answer.
    pub fn remote(&self, description: &Description, answering: bool) -> Result<()> {
        let sdp = c_string(&description.to_sdp())?;
        let kind = if answering { c"offer" } else { c"answer" };
        // libdatachannel starts ICE before it stores the description, and a DTLS handshake that is done in between fails for
        // want of a fingerprint to compare. That takes three round trips: on one LAN, less than being scheduled away here.
        // SAFETY: pc is live, both strings live until the call returns.
        let set = undisturbed(|| unsafe { rtc::rtcSetRemoteDescription(self.0, sdp.as_ptr(), kind.as_ptr()) });
        checked(set, "cannot take the peer's description")?;
        if answering {
            // SAFETY: pc is live, the type is static.
            checked(unsafe { rtc::rtcSetLocalDescription(self.0, c"answer".as_ptr()) }, "cannot make the answer")?;
        }
        Ok(())
    }

    /// Takes one candidate of the peer.
    pub fn candidate(&self, candidate: &str) -> Result<()> {
        let text = c_string(candidate)?;
        debug_assert_eq!(MEDIA.to_bytes(), MEDIA_ID.as_bytes());
        // SAFETY: pc is live, both strings live until the call returns.
        checked(
            unsafe { rtc::rtcAddRemoteCandidate(self.0, text.as_ptr(), MEDIA.as_ptr()) },
            "cannot take the candidate",
        )
    }

    /// Its number, for `pair`.
    pub fn id(&self) -> c_int {
        self.0
    }

    /// Begins to close: DTLS says goodbye. The state callback tells when it is done.
    pub fn close(&self) {
        // SAFETY: a pc that is gone is an error, not a fault.
        unsafe { rtc::rtcClosePeerConnection(self.0) };
    }

    /// Frees the agent and what belongs to it.
    pub fn delete(self, channels: &[c_int]) {
        // SAFETY: ids that are gone are errors, not faults.
        unsafe {
            for &id in channels {
                rtc::rtcDelete(id);
            }
            rtc::rtcDeletePeerConnection(self.0);
        }
    }
}

/// The selected pair of an agent, local and remote. None when there is none (any more).
pub fn pair(agent: c_int) -> Option<(Candidate, Candidate)> {
    let (mut local, mut remote) = ([0u8; 512], [0u8; 512]);
    // SAFETY: both buffers are live and of the given size; a deleted pc is an error, not a fault.
    let got = unsafe {
        let (l, r) = (local.as_mut_ptr().cast(), remote.as_mut_ptr().cast());
        rtc::rtcGetSelectedCandidatePair(agent, l, local.len() as c_int, r, remote.len() as c_int)
    };
    let text = |buffer: &[u8]| candidate::parse(CStr::from_bytes_until_nul(buffer).ok()?.to_str().ok()?).ok();
    if got < 0 { None } else { Some((text(&local)?, text(&remote)?)) }
}

/// Sends one message on a track or channel. False when it is not open.
pub fn send(id: c_int, message: &[u8]) -> bool {
    // SAFETY: the message lives until the call returns, which copies it.
    unsafe { rtc::rtcSendMessage(id, message.as_ptr().cast(), message.len() as c_int) >= 0 }
}

/// Bytes that wait in a channel.
pub fn buffered(id: c_int) -> usize {
    // SAFETY: an id that is gone is an error, not a fault.
    usize::try_from(unsafe { rtc::rtcGetBufferedAmount(id) }).unwrap_or(0)
}

/// True when the channel bears the control channel's label.
pub fn is_control(channel: c_int) -> bool {
    let mut label = [0u8; 16];
    // SAFETY: the buffer is live and of the given size.
    let got = unsafe { rtc::rtcGetDataChannelLabel(channel, label.as_mut_ptr().cast(), label.len() as c_int) };
    got > 0 && CStr::from_bytes_until_nul(&label) == Ok(LABEL)
}

/// Sends a track's or channel's events to the link.
pub fn attach(id: c_int, handle: Handle) {
    // SAFETY: the callbacks are plain functions, the pointer is a number in disguise.
    unsafe {
        rtc::rtcSetUserPointer(id, user_pointer(handle));
        rtc::rtcSetMessageCallback(id, Some(on_message));
        rtc::rtcSetClosedCallback(id, Some(on_closed));
        rtc::rtcSetOpenCallback(id, Some(on_open));
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(libc::EINVAL, "text has a NUL"))
}

fn checked(result: c_int, what: &str) -> Result<()> {
    match result {
        0.. => Ok(()),
        rtc::RTC_ERR_INVALID => Err(Error::new(libc::EINVAL, format!("{what}: invalid"))),
        _ => Err(Error::new(libc::EIO, format!("{what}: libdatachannel failed"))),
    }
}

/// Text of a callback, valid during it.
///
/// # Safety
/// `text` is null or a string with its NUL that outlives 'a.
unsafe fn text<'a>(text: *const c_char) -> &'a str {
    if text.is_null() {
        return "";
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("")
}

/// Invalid fingerprints are told in the log only: `... Invalid fingerprint "AA:..", expected "BB:.."`, before the state changes.
/// Every certificate is made for one link, so the expected one names it.
unsafe extern "C" fn on_log(_level: rtc::rtcLogLevel, message: *const c_char) {
    // SAFETY: libdatachannel gives a string with its NUL.
    let message = unsafe { text(message) };
    let Some((_, rest)) = message.split_once("Invalid fingerprint \"") else { return };
    let Some((_, rest)) = rest.split_once("expected \"") else { return };
    let Some((expected, _)) = rest.split_once('"') else { return };
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    registry.iter().flat_map(HashMap::values).for_each(|link| link.on_wrong_fingerprint(expected));
}

unsafe extern "C" fn on_description(_: c_int, sdp: *const c_char, _: *const c_char, pointer: *mut c_void) {
    if let Some(link) = find(pointer) {
        // SAFETY: libdatachannel gives a string with its NUL.
        link.on_description(unsafe { text(sdp) });
    }
}

unsafe extern "C" fn on_candidate(_: c_int, candidate: *const c_char, _: *const c_char, pointer: *mut c_void) {
    if let Some(link) = find(pointer) {
        // SAFETY: libdatachannel gives a string with its NUL.
        link.on_candidate(unsafe { text(candidate) });
    }
}

unsafe extern "C" fn on_gathering(_: c_int, state: rtc::rtcGatheringState, pointer: *mut c_void) {
    if state != rtc::rtcGatheringState_RTC_GATHERING_COMPLETE {
        return;
    }
    if let Some(link) = find(pointer) {
        link.on_gathered();
    }
}

unsafe extern "C" fn on_ice(_: c_int, state: rtc::rtcIceState, pointer: *mut c_void) {
    let Some(link) = find(pointer) else { return };
    match state {
        rtc::rtcIceState_RTC_ICE_CONNECTED | rtc::rtcIceState_RTC_ICE_COMPLETED => link.on_ice_connected(),
        rtc::rtcIceState_RTC_ICE_FAILED | rtc::rtcIceState_RTC_ICE_DISCONNECTED => link.on_ice_failed(),
        _ => {}
    }
}

unsafe extern "C" fn on_state(_: c_int, state: rtc::rtcState, pointer: *mut c_void) {
    let Some(link) = find(pointer) else { return };
    match state {
        rtc::rtcState_RTC_FAILED => link.on_failed(),
        rtc::rtcState_RTC_DISCONNECTED => link.on_disconnected(),
        rtc::rtcState_RTC_CLOSED => link.on_agent_closed(),
        _ => {}
    }
}

unsafe extern "C" fn on_channel(_: c_int, channel: c_int, pointer: *mut c_void) {
    if let Some(link) = find(pointer) {
        link.adopt_channel(channel);
    }
}

unsafe extern "C" fn on_track(_: c_int, track: c_int, pointer: *mut c_void) {
    if let Some(link) = find(pointer) {
        link.adopt_track(track);
    }
}

unsafe extern "C" fn on_open(id: c_int, pointer: *mut c_void) {
    let Some(link) = find(pointer) else { return };
    if link.on_open(id) {
        // It asks for the selected pair, which waits for libjuice's lock.
        juice_guard::later(move || link.come_up());
    }
}

unsafe extern "C" fn on_closed(id: c_int, pointer: *mut c_void) {
    if let Some(link) = find(pointer) {
        link.on_closed(id);
    }
}

unsafe extern "C" fn on_message(id: c_int, message: *const c_char, size: c_int, pointer: *mut c_void) {
    let Some(link) = find(pointer) else { return };
    // Texts come with a negative size that counts their NUL.
    let size = if size < 0 { -(size + 1) } else { size } as usize;
    if message.is_null() {
        return;
    }
    // SAFETY: libdatachannel gives `size` bytes that live during the call.
    let bytes = unsafe { std::slice::from_raw_parts(message.cast::<u8>(), size) };
    link.on_message(id, bytes);
}
