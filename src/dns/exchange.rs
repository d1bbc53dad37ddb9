//! One signed message to the server, and its verified answer: UDP first, TCP where that does not do.
//!
//! hickory signs, encodes and verifies. It is sent from here because hickory's own clients drop an
//! answer that does not verify, and with it the one word that says what is wrong with a key.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{TSigVerifier, TSigner, rdata::tsig::TsigError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// How often a datagram is sent, and how long each time an answer may take.
const DATAGRAMS: u32 = 2;
const DATAGRAM_PATIENCE: Duration = Duration::from_millis(1500);

/// How long a whole exchange by TCP may take.
const STREAM_PATIENCE: Duration = Duration::from_secs(3);

/// Longer messages go by TCP at once: this much every server takes in a datagram (RFC 1035).
const LONGEST_DATAGRAM: usize = 512;

/// Why there is no answer without an error, and with a signature that is right.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server's name has no address.
    Unknown(String),
    /// Nothing listens there, or no answer came; what was seen by UDP and by TCP.
    Silent(String),
    BadSecret,
    BadKey,
    /// The clocks differ; the server's, in seconds since 1970, where it says so.
    BadTime(Option<u64>),
    /// The answer is not signed, or its signature is wrong.
    Forged(String),
    /// The server's word. `resent`: the same message was sent before, and may have had its effect without
    /// an answer.
    Code {
        code: ResponseCode,
        resent: bool,
    },
}

/// Signs and sends `message`, and gives the answer.
pub(super) async fn exchange(
    (server, port): (&str, u16),
    signer: &TSigner,
    mut message: Message,
) -> Result<Message, Trouble> {
    let address = address(server, port).await.map_err(Trouble::Unknown)?;
    let now = now();
    let verifier = message.finalize(signer, now).map_err(|error| Trouble::Forged(error.to_string()))?;
    let bytes = message.to_vec().map_err(|error| Trouble::Forged(error.to_string()))?;
    let mut verifier =
        verifier.ok_or_else(|| Trouble::Forged("the request has no signature to verify it with".to_owned()))?;

    let mut resent = false;
    let mut by_udp = String::new();
    if bytes.len() <= LONGEST_DATAGRAM {
        match datagram(address, &bytes).await {
            Ok((answer, again)) => {
                resent = again;
                if !is_truncated(&answer) {
                    return judge(&message, &mut verifier, &answer, resent);
                }
            }
            Err(error) => {
                // A refused port had no effect; silence may hide one.
                resent = error.kind() == io::ErrorKind::TimedOut;
                by_udp = format!("UDP: {}; ", words(&error));
            }
        }
    }
    let answer = match timeout(STREAM_PATIENCE, stream(address, &bytes)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(Trouble::Silent(format!("{by_udp}TCP: {}", words(&error)))),
        Err(_) => {
            return Err(Trouble::Silent(format!("{by_udp}TCP: no answer within {} s", STREAM_PATIENCE.as_secs())));
        }
    };
    judge(&message, &mut verifier, &answer, resent)
}

/// The address of a server that is given by its address or by its name.
pub(super) async fn address(server: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(ip) = server.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    match timeout(STREAM_PATIENCE, tokio::net::lookup_host((server, port))).await {
        Ok(Ok(mut found)) => found.next().ok_or_else(|| "the name has no address".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", STREAM_PATIENCE.as_secs())),
    }
}

/// Sends a datagram, more than once if need be. The answer, and whether it was sent more than once.
async fn datagram(server: SocketAddr, bytes: &[u8]) -> io::Result<(Vec<u8>, bool)> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connected: datagrams of others do not arrive, and a closed port is an error at once.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for attempt in 0..DATAGRAMS {
        socket.send(bytes).await?;
        let answer = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                // A whole header, of which the first two bytes are the message's id.
                if length >= 12 && buffer[..2] == bytes[..2] {
                    return io::Result::Ok(length);
                }
            }
        };
        if let Ok(length) = timeout(DATAGRAM_PATIENCE, answer).await {
            return Ok((buffer[..length?].to_vec(), attempt > 0));
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

async fn stream(server: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(|_| io::Error::other("the message is longer than 64 KiB"))?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Whether the rest of an answer is to be had by TCP (TC, RFC 1035).
fn is_truncated(answer: &[u8]) -> bool {
    answer[2] & 0b10 != 0
}

fn words(error: &io::Error) -> String {
    let whole = DATAGRAM_PATIENCE * DATAGRAMS;
    match error.kind() {
        io::ErrorKind::TimedOut => format!("no answer within {} s", whole.as_secs()),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed without an answer".to_owned(),
        _ => error.to_string(),
    }
}

/// What an answer means; its signature is checked wherever there should be one.
fn judge(asked: &Message, verifier: &mut TSigVerifier, bytes: &[u8], resent: bool) -> Result<Message, Trouble> {
    let forged = |reason: &dyn std::fmt::Display| Trouble::Forged(reason.to_string());
    let message = Message::from_vec(bytes).map_err(|error| forged(&error))?;
    if message.id != asked.id || message.message_type != MessageType::Response || message.op_code != asked.op_code {
        return Err(forged(&"it answers another request"));
    }
    let code = message.response_code;
    let Some(tsig) = message.signature().map(|record| &record.data) else {
        // A server that does not know TSIG, or that accepts no updates.
        return Err(match code {
            ResponseCode::NoError => forged(&"it is not signed"),
            code => Trouble::Code { code, resent },
        });
    };
    match tsig.error {
        // By their nature these are not signed.
        Some(TsigError::BadSig | TsigError::BadTrunc) => return Err(Trouble::BadSecret),
        Some(TsigError::BadKey) => return Err(Trouble::BadKey),
        Some(TsigError::BadTime) => return Err(Trouble::BadTime(seconds(&tsig.other))),
        _ => {}
    }
    verifier.verify(bytes).map_err(|error| forged(&error))?;
    match code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(message),
        code => Err(Trouble::Code { code, resent }),
    }
}

/// The 48 bits of a time in a TSIG record.
fn seconds(bytes: &[u8]) -> Option<u64> {
    let bytes: [u8; 6] = bytes.try_into().ok()?;
    Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_time_is_read_as_48_bits() {
        assert_eq!(seconds(&[0, 0, 0x6b, 0x02, 0xe4, 0xc0]), Some(0x6b02_e4c0));
        assert_eq!(seconds(&[1, 0, 0, 0, 0, 0]), Some(1 << 40));
        assert_eq!(seconds(&[]), None);
    }

    #[test]
    fn truncated_answer_is_recognised_by_its_header() {
        let mut message = Message::query();
        assert!(!is_truncated(&message.to_vec().unwrap()));
        message.metadata.truncation = true;
        assert!(is_truncated(&message.to_vec().unwrap()));
    }
}
