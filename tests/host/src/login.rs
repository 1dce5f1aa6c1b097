// SPDX-License-Identifier: GPL-2.0

//! A whole target to log in to, and an initiator to do it with.
//!
//! The target computes its digests with crates that have nothing to do with
//! the kernel, and every answer is checked for what must hold of any answer.

use std::collections::BTreeSet;

use ferrite_proto::chap::{
    Algorithm, //
    Algorithms,
    Credentials,
    NoCredentials,
    Whose,
};
use ferrite_proto::login::ffp::{
    Cursor, //
    Listing,
    Scope,
    SessionView,
    Targets,
    TextExchange,
    TextStep,
};
use ferrite_proto::login::params::{
    ConnParams, //
    SessionParams,
    TpgParams,
};
use ferrite_proto::login::{
    ffp, //
    write_moved,
    Admission,
    AuthPolicy,
    Host,
    Identity,
    Login,
    LoginResult,
    SessionType,
    Step,
    MAX_DATA_SEGMENT_LEN,
};
use ferrite_proto::name::IscsiName;
use ferrite_proto::text::{
    Buffers, //
    NoSpace,
    Pairs,
    Writer,
    TEXT_BUFFER_LEN,
};
use ferrite_proto::wire::{
    Error, //
    LoginResponse,
    LoginStatus,
    Request,
    TextResponse,
    BHS_LEN,
};

/// The initiator's name in most tests.
pub const INITIATOR: &str = "iqn.1994-05.com.redhat:c0ffee";

/// The target's name in most tests.
pub const TARGET: &str = "iqn.2003-01.org.example:disk";

/// A target with everything that a login asks for.
pub struct Lab {
    /// What the portal group offers.
    pub offer: TpgParams,
    /// What it demands of the initiator.
    pub auth: AuthPolicy,
    /// The initiator's user name and secret.
    pub inbound: (Vec<u8>, Vec<u8>),
    /// The target's user name and secret.
    pub mutual: Option<(Vec<u8>, Vec<u8>)>,
    /// The session that a login with a TSIH joins.
    pub existing: Option<SessionParams>,
    /// The portal group tag that is told.
    pub tag: Option<u16>,
    /// What to refuse initiators with.
    pub refusal: Option<LoginStatus>,
    /// Where the target has moved to.
    pub moved: Option<String>,
    /// What opening a session comes to.
    pub opening: Result<u16, LoginStatus>,
    /// The identities that were asked about.
    pub asked: Vec<Asked>,
    /// How many sessions were opened.
    pub opened: u32,
    /// The targets that SendTargets lists, with their addresses.
    pub targets: Vec<(IscsiName, Vec<String>)>,
    /// What the next random bytes are; a counter goes on behind them.
    pub entropy: Vec<u8>,
    counter: u8,
}

/// A copy of an [`Identity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The initiator's name.
    pub initiator: String,
    /// The target's name.
    pub target: Option<String>,
    /// What kind of session.
    pub session_type: SessionType,
    /// The TSIH.
    pub tsih: u16,
    /// The CID.
    pub cid: u16,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// Lets everybody in without authentication.
    pub fn new() -> Self {
        Self {
            offer: TpgParams::new(),
            auth: AuthPolicy {
                required: false,
                algorithms: Algorithms::DEFAULT,
                credentials: false,
            },
            inbound: (Vec::new(), Vec::new()),
            mutual: None,
            existing: None,
            tag: Some(1),
            refusal: None,
            moved: None,
            opening: Ok(0x1234),
            asked: Vec::new(),
            opened: 0,
            targets: Vec::new(),
            entropy: Vec::new(),
            counter: 0x40,
        }
    }

    /// Demands CHAP with user `alice` and secret `correct horse battery`.
    pub fn with_chap() -> Self {
        Self {
            auth: AuthPolicy {
                required: true,
                algorithms: Algorithms::DEFAULT.with(Algorithm::Md5),
                credentials: true,
            },
            inbound: (b"alice".to_vec(), b"correct horse battery".to_vec()),
            ..Self::new()
        }
    }

    /// The same, and the target is `tgt` with secret `staple of the target`.
    pub fn with_mutual_chap() -> Self {
        Self {
            mutual: Some((b"tgt".to_vec(), b"staple of the target".to_vec())),
            ..Self::with_chap()
        }
    }
}

impl Credentials for Lab {
    fn random(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = if self.entropy.is_empty() {
                self.counter = self.counter.wrapping_add(7);
                self.counter
            } else {
                self.entropy.remove(0)
            };
        }
    }

    fn chap_user(&mut self, name: &[u8]) -> bool {
        name == self.inbound.0
    }

    fn mutual_user(&mut self, out: &mut [u8; 255]) -> Result<usize, NoCredentials> {
        let (user, _) = self.mutual.as_ref().ok_or(NoCredentials)?;
        out[..user.len()].copy_from_slice(user);
        Ok(user.len())
    }

    fn chap_digest(
        &mut self,
        algorithm: Algorithm,
        id: u8,
        challenge: &[u8],
        whose: Whose,
        out: &mut [u8; 32],
    ) -> Result<usize, NoCredentials> {
        let secret = match whose {
            Whose::Inbound if self.auth.credentials => &self.inbound.1,
            Whose::Inbound => return Err(NoCredentials),
            Whose::Mutual => &self.mutual.as_ref().ok_or(NoCredentials)?.1,
        };
        let digest = chap_digest(algorithm, id, secret, challenge);
        out[..digest.len()].copy_from_slice(&digest);
        Ok(digest.len())
    }
}

impl Host for Lab {
    fn authorize(&mut self, identity: &Identity<'_>) -> Result<Admission, LoginStatus> {
        self.asked.push(Asked {
            initiator: identity.initiator.as_str().to_owned(),
            target: identity.target.map(|name| name.as_str().to_owned()),
            session_type: identity.session_type,
            tsih: identity.tsih,
            cid: identity.cid,
        });
        match self.refusal {
            Some(status) => Err(status),
            None => Ok(Admission {
                offer: self.offer.clone(),
                auth: self.auth,
                portal_group_tag: self.tag,
                session: self.existing,
            }),
        }
    }

    fn write_moved(&mut self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        match &self.moved {
            Some(address) => write_moved(address, out),
            None => Err(NoSpace),
        }
    }

    fn open_session(&mut self, login: &LoginResult<'_>) -> Result<u16, LoginStatus> {
        self.opened += 1;
        // Nobody gets this far without a proof.
        assert!(login.authenticated || !self.auth.required);
        assert!(login.session.first_burst_length <= login.session.max_burst_length);
        self.opening
    }
}

impl Targets for Lab {
    fn send_targets(
        &mut self,
        scope: Scope<'_>,
        from: Cursor,
        out: &mut ferrite_proto::text::Writer<'_>,
    ) -> Listing {
        for (index, (name, addresses)) in self.targets.iter().enumerate() {
            let target = index as u64;
            if target < from.target || matches!(scope, Scope::One(one) if one != name) {
                continue;
            }
            let done = if target == from.target {
                from.address
            } else {
                0
            };
            for record in done..=addresses.len() as u32 {
                let written = match record.checked_sub(1) {
                    None => ffp::write_target(name, out),
                    Some(n) => ffp::write_address(&addresses[n as usize], 1, out),
                };
                if written.is_err() {
                    return Listing::Continues(Cursor {
                        target,
                        address: record,
                    });
                }
            }
        }
        Listing::Complete
    }
}

/// The digest of CHAP (RFC 1994 section 4.1): over the identifier, the
/// secret, the challenge.
pub fn chap_digest(algorithm: Algorithm, id: u8, secret: &[u8], challenge: &[u8]) -> Vec<u8> {
    use sha1::Digest as _;

    let input = [&[id], secret, challenge].concat();
    match algorithm {
        Algorithm::Md5 => md5::Md5::digest(input).to_vec(),
        Algorithm::Sha1 => sha1::Sha1::digest(input).to_vec(),
        Algorithm::Sha256 => sha2::Sha256::digest(input).to_vec(),
        Algorithm::Sha3_256 => sha3::Sha3_256::digest(input).to_vec(),
    }
}

/// `0x` and two digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// The bytes of `0x...`.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x").expect("0x");
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// RFC 4648 base64 with `0b` before it.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("0b");
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |n, &b| n << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            text.push(if i <= chunk.len() {
                char::from(DIGITS[(bits >> (18 - 6 * i) & 63) as usize])
            } else {
                '='
            });
        }
    }
    text
}

/// `pairs`, each ended by a NUL byte.
pub fn text(pairs: &[&str]) -> Vec<u8> {
    pairs
        .iter()
        .flat_map(|pair| pair.bytes().chain([0]))
        .collect()
}

/// The header of a Login Request, field by field.
#[derive(Clone, Copy, Debug)]
pub struct LoginHeader {
    /// Byte 1: T, C, CSG, NSG.
    pub flags: u8,
    /// Version-max.
    pub version_max: u8,
    /// Version-min.
    pub version_min: u8,
    /// The ISID.
    pub isid: [u8; 6],
    /// The TSIH.
    pub tsih: u16,
    /// The Initiator Task Tag.
    pub itt: u32,
    /// The CID.
    pub cid: u16,
    /// The CmdSN.
    pub cmd_sn: u32,
    /// The ExpStatSN.
    pub exp_stat_sn: u32,
}

impl Default for LoginHeader {
    fn default() -> Self {
        Self {
            flags: 0,
            version_max: 0,
            version_min: 0,
            isid: [0x00, 0x02, 0x3d, 0x01, 0x00, 0x00],
            tsih: 0,
            itt: 0x77,
            cid: 0,
            cmd_sn: 1,
            exp_stat_sn: 0,
        }
    }
}

impl LoginHeader {
    /// The 48 bytes.
    pub fn bytes(&self, data_len: usize) -> [u8; 48] {
        let mut bhs = [0; 48];
        bhs[0] = 0x43;
        bhs[1] = self.flags;
        bhs[2] = self.version_max;
        bhs[3] = self.version_min;
        bhs[5..8].copy_from_slice(&(data_len as u32).to_be_bytes()[1..]);
        bhs[8..14].copy_from_slice(&self.isid);
        bhs[14..16].copy_from_slice(&self.tsih.to_be_bytes());
        bhs[16..20].copy_from_slice(&self.itt.to_be_bytes());
        bhs[20..22].copy_from_slice(&self.cid.to_be_bytes());
        bhs[24..28].copy_from_slice(&self.cmd_sn.to_be_bytes());
        bhs[28..32].copy_from_slice(&self.exp_stat_sn.to_be_bytes());
        bhs
    }
}

/// What a request was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The login goes on.
    Partial(Response),
    /// The full feature phase begins.
    Final(Response),
    /// The login is refused with this status.
    Refused(u16),
    /// The login is sent elsewhere: the detail of the status, and the text.
    Moved(u8, String),
    /// The connection is closed without an answer.
    Closed,
}

/// A Login Response that is not a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Byte 1: T, C, CSG, NSG.
    pub flags: u8,
    /// The TSIH.
    pub tsih: u16,
    /// The text.
    pub data: Vec<u8>,
}

impl Response {
    /// The pairs of the text, which must be complete.
    pub fn pairs(&self) -> Vec<String> {
        Pairs::new(&self.data)
            .map(|pair| {
                let pair = pair.expect("the target's text is well-formed");
                format!("{}={}", pair.key, pair.value)
            })
            .collect()
    }

    /// The value of `key`.
    pub fn value(&self, key: &str) -> Option<String> {
        self.pairs()
            .into_iter()
            .find_map(|pair| Some(pair.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
    }
}

impl Answer {
    /// The response, if the login goes on or is done.
    #[track_caller]
    pub fn response(&self) -> &Response {
        match self {
            Self::Partial(response) | Self::Final(response) => response,
            other => panic!("{other:?} where the login should go on"),
        }
    }

    /// Checks that the login goes on with exactly these pairs.
    #[track_caller]
    pub fn partial(&self, flags: u8, pairs: &[&str]) -> &Response {
        match self {
            Self::Partial(response) => {
                assert_eq!(response.pairs(), pairs);
                assert_eq!(response.flags, flags, "{:#04x}", response.flags);
                response
            }
            other => panic!("{other:?} where the login should go on"),
        }
    }

    /// Checks that the login is done with exactly these pairs.
    #[track_caller]
    pub fn last(&self, flags: u8, pairs: &[&str]) -> &Response {
        match self {
            Self::Final(response) => {
                assert_eq!(response.pairs(), pairs);
                assert_eq!(response.flags, flags, "{:#04x}", response.flags);
                response
            }
            other => panic!("{other:?} where the login should be done"),
        }
    }

    /// Checks that the login is refused with this status.
    #[track_caller]
    pub fn refused(&self, status: u16) {
        assert_eq!(self, &Self::Refused(status), "expected {status:#06x}");
    }
}

/// An initiator in the middle of a login.
pub struct Initiator {
    /// The machine under test.
    pub login: Login,
    /// The header of the next request.
    pub header: LoginHeader,
    /// Why the target has refused, as it logs it.
    pub reason: String,
    text: Vec<u8>,
    out: Vec<u8>,
    told: BTreeSet<String>,
    pending: Vec<u8>,
}

impl Default for Initiator {
    fn default() -> Self {
        Self::new()
    }
}

impl Initiator {
    /// A new connection.
    pub fn new() -> Self {
        Self::with_buffers(TEXT_BUFFER_LEN, TEXT_BUFFER_LEN)
    }

    /// A new connection to a target with buffers of these lengths.
    pub fn with_buffers(text: usize, out: usize) -> Self {
        Self {
            login: Login::new(),
            header: LoginHeader::default(),
            reason: String::new(),
            text: vec![0xa5; text],
            out: vec![0x5a; out],
            told: BTreeSet::new(),
            pending: Vec::new(),
        }
    }

    /// Sends `pairs` with byte 1 of the header as `flags`.
    pub fn send(&mut self, lab: &mut Lab, flags: u8, pairs: &[&str]) -> Answer {
        self.send_raw(lab, flags, &text(pairs))
    }

    /// Sends `data` with byte 1 of the header as `flags`.
    pub fn send_raw(&mut self, lab: &mut Lab, flags: u8, data: &[u8]) -> Answer {
        self.header.flags = flags;
        let bytes = self.header.bytes(data.len());
        let Ok(Request::Login(request)) = Request::parse(&bytes) else {
            panic!("a Login Request that is not one");
        };
        let buffers = Buffers {
            text: &mut self.text,
            out: &mut self.out,
        };
        let step = self.login.handle(request, data, buffers, lab);
        self.check(step, flags)
    }

    /// Sends something that is not a Login Request.
    pub fn send_other(&mut self) -> Answer {
        let step = self.login.handle_other();
        self.check(step, 0)
    }

    /// Sends something whose header breaks a rule, with `opcode` in it.
    pub fn send_malformed(&mut self, opcode: u8, error: Error) -> Answer {
        let header = self.broken(opcode, 0);
        let step = self.login.handle_malformed(&header, error);
        self.check(step, 0)
    }

    /// Sends the header of a PDU of `len` bytes of data, with `opcode` in it.
    pub fn send_too_long(&mut self, opcode: u8, len: usize) -> Answer {
        let header = self.broken(opcode, len);
        let step = self.login.handle_too_long(&header);
        self.check(step, 0)
    }

    fn broken(&self, opcode: u8, len: usize) -> [u8; BHS_LEN] {
        let mut header = self.header.bytes(len);
        header[0] = 0x40 | opcode;
        header
    }

    /// Turns a step into an answer, and checks what holds of every answer.
    fn check(&mut self, step: Step, asked: u8) -> Answer {
        let (reply, is_final) = match step {
            Step::Respond(reply) => (reply, false),
            Step::Done(reply) => (reply, true),
            Step::Refuse(reply, fault) => {
                self.reason = fault.to_string();
                let bytes = emit(&reply.response);
                assert_eq!(bytes[1], 0, "T, C and the stages are reserved");
                assert!(matches!(bytes[36], 1..=3), "not a refusal");
                assert!(self.login.result().is_none());
                assert!(self.login.take_proof().is_none());
                let data = self
                    .out
                    .get(reply.data.clone())
                    .expect("the data is in the buffer");
                assert_eq!(bytes[5..8], (data.len() as u32).to_be_bytes()[1..]);
                if bytes[36] == 1 {
                    let data = String::from_utf8(data.to_vec()).expect("text");
                    return Answer::Moved(bytes[37], data);
                }
                assert!(data.is_empty());
                return Answer::Refused(u16::from_be_bytes([bytes[36], bytes[37]]));
            }
            Step::Drop(fault) => {
                self.reason = fault.to_string();
                return Answer::Closed;
            }
        };
        let bytes = emit(&reply.response);
        let flags = bytes[1];
        assert_eq!(bytes[0], 0x23);
        assert_eq!(bytes[2..4], [0, 0], "version");
        assert_eq!(bytes[8..14], self.header.isid);
        assert_eq!(bytes[16..20], self.header.itt.to_be_bytes());
        assert_eq!(bytes[36..38], [0, 0], "success");
        let data = self
            .out
            .get(reply.data.clone())
            .expect("the data is in the buffer")
            .to_vec();
        assert_eq!(bytes[5..8], (data.len() as u32).to_be_bytes()[1..]);
        assert!(data.len() <= MAX_DATA_SEGMENT_LEN);
        assert_ne!(flags & 0xc0, 0xc0, "T and C together");
        assert!(asked & 0x80 != 0 || flags & 0x80 == 0, "T unasked");
        assert_eq!(flags & 0x0c, asked & 0x0c, "another stage");
        if flags & 0x80 != 0 {
            assert!(flags & 3 <= asked & 3, "a later stage than asked for");
        } else {
            assert_eq!(flags & 3, 0, "NSG is reserved");
        }
        assert_eq!(is_final, flags & 0x83 == 0x83, "T and NSG=3 mean done");
        let tsih = u16::from_be_bytes([bytes[14], bytes[15]]);
        if is_final {
            assert_ne!(tsih, 0);
            assert_eq!(self.login.result().map(|result| result.tsih), Some(tsih));
        } else {
            assert_eq!(tsih, self.header.tsih);
            assert!(self.login.result().is_none());
            assert!(self.login.take_proof().is_none());
        }

        // What was said once is never said again.
        self.pending.extend_from_slice(&data);
        if flags & 0x40 == 0 {
            for pair in Pairs::new(&std::mem::take(&mut self.pending)) {
                let pair = pair.expect("the target's text is well-formed");
                let is_new = self.told.insert(pair.key.to_owned());
                assert!(
                    is_new || pair.value == "NotUnderstood",
                    "{} twice",
                    pair.key
                );
            }
        }
        let response = Response { flags, tsih, data };
        if is_final {
            Answer::Final(response)
        } else {
            Answer::Partial(response)
        }
    }
}

fn emit(response: &LoginResponse) -> [u8; 48] {
    let mut bytes = [0xa5; 48];
    response.emit(&mut bytes);
    bytes
}

/// A connection in the full feature phase that sends Text Requests.
pub struct Talker {
    /// The machine under test.
    pub exchange: TextExchange,
    /// What kind of session.
    pub session_type: SessionType,
    /// The target logged in to.
    pub target: Option<IscsiName>,
    /// The values of the connection.
    pub conn: ConnParams,
    /// The Initiator Task Tag of the next request.
    pub itt: u32,
    /// Why the target has refused, as it logs it.
    pub reason: String,
    text: Vec<u8>,
    out: Vec<u8>,
}

/// What a Text Request was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextAnswer {
    /// A Text Response: F and C in byte 1, the tag, the text.
    Response {
        /// Byte 1: F, C.
        flags: u8,
        /// The Target Transfer Tag.
        ttt: u32,
        /// The text.
        data: Vec<u8>,
    },
    /// A Reject with this reason.
    Reject(u8),
}

impl Talker {
    /// A connection in a session of this type.
    pub fn new(session_type: SessionType) -> Self {
        Self {
            exchange: TextExchange::new(),
            session_type,
            target: None,
            conn: ConnParams::RFC_DEFAULT,
            itt: 0x10,
            reason: String::new(),
            text: vec![0xa5; TEXT_BUFFER_LEN],
            out: vec![0x5a; TEXT_BUFFER_LEN],
        }
    }

    /// Sends `data` with byte 1 of the header as `flags` and this tag.
    pub fn send(&mut self, lab: &mut Lab, flags: u8, ttt: u32, data: &[u8]) -> TextAnswer {
        let mut bytes = [0; 48];
        bytes[0] = 0x04;
        bytes[1] = flags;
        bytes[5..8].copy_from_slice(&(data.len() as u32).to_be_bytes()[1..]);
        bytes[16..20].copy_from_slice(&self.itt.to_be_bytes());
        bytes[20..24].copy_from_slice(&ttt.to_be_bytes());
        let Ok(Request::Text(request)) = Request::parse(&bytes) else {
            panic!("a Text Request that is not one");
        };
        let session = SessionView {
            session_type: self.session_type,
            target: self.target.as_ref(),
        };
        let buffers = Buffers {
            text: &mut self.text,
            out: &mut self.out,
        };
        let step = self
            .exchange
            .handle(request, data, session, &self.conn, buffers, lab);
        let (reply, is_final) = match step {
            TextStep::Respond(reply) => (reply, false),
            TextStep::Done(reply) => (reply, true),
            TextStep::Reject(reason, fault) => {
                self.reason = fault.to_string();
                assert!(self.exchange.is_idle());
                return TextAnswer::Reject(reason as u8);
            }
        };
        let bytes = emit_text(&reply.response);
        let answer_flags = bytes[1];
        let ttt = u32::from_be_bytes(bytes[20..24].try_into().unwrap());
        let data = self
            .out
            .get(reply.data.clone())
            .expect("the data is in the buffer")
            .to_vec();
        assert_eq!(bytes[0], 0x24);
        assert_eq!(bytes[16..20], self.itt.to_be_bytes());
        assert_eq!(bytes[5..8], (data.len() as u32).to_be_bytes()[1..]);
        assert!(data.len() <= self.conn.max_xmit_data_segment_length as usize);
        assert_ne!(answer_flags & 0xc0, 0xc0, "F and C together");
        assert!(flags & 0x80 != 0 || answer_flags & 0x80 == 0, "F unasked");
        assert_eq!(answer_flags & 0x80 != 0, ttt == 0xffff_ffff, "F and tag");
        assert_eq!(is_final, answer_flags & 0x80 != 0);
        assert_eq!(is_final, self.exchange.is_idle());
        TextAnswer::Response {
            flags: answer_flags,
            ttt,
            data,
        }
    }
}

impl TextAnswer {
    /// The flags, tag and text of a response.
    #[track_caller]
    pub fn response(self) -> (u8, u32, Vec<u8>) {
        match self {
            Self::Response { flags, ttt, data } => (flags, ttt, data),
            Self::Reject(reason) => panic!("Reject {reason:#04x}"),
        }
    }
}

fn emit_text(response: &TextResponse) -> [u8; 48] {
    let mut bytes = [0xa5; 48];
    response.emit(&mut bytes);
    bytes
}
