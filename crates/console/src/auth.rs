//! Who may look: whoever has opened a login link. A link works once; it comes from the terminal of the mesh's
//! owner, so that neither other users of the machine nor web pages get in. Secrets are 256 random bits.

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::rand::{GetRandomFlags, getrandom};

/// Makes login links.
#[derive(Clone, Debug)]
pub struct Links {
    doors: Arc<Mutex<Doors>>,
    address: SocketAddr,
}

/// A link that logs in whoever opens it first.
#[derive(Clone, Eq, PartialEq)]
pub struct LoginLink(String);

impl fmt::Debug for LoginLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginLink(…)")
    }
}

impl fmt::Display for LoginLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tokens that nobody has used yet, and sessions.
#[derive(Default)]
struct Doors {
    tokens: VecDeque<(Secret, Instant)>,
    sessions: VecDeque<(Secret, Instant)>,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

#[derive(Clone, Eq, PartialEq)]
struct Secret([u8; 32]);

impl Links {
    /// Links to a console that listens on an address.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { doors: Arc::default(), address }
    }

    /// A new link. It works once, within an hour; only the newest few are valid.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn mint(&self) -> io::Result<LoginLink> {
        let token = Secret::random()?;
        let link = LoginLink(format!("http://{}/login?token={}", self.address, token.hex()));
        keep(&mut self.doors.lock().tokens, token, MAX_TOKENS);
        Ok(link)
    }

    /// The session of whoever brings a token that was not used yet.
    pub(crate) fn redeem(&self, token: &str) -> Option<String> {
        self.redeem_at(token, Instant::now())
    }

    fn redeem_at(&self, token: &str, now: Instant) -> Option<String> {
        let session = Secret::random().ok()?;
        let mut doors = self.doors.lock();
        let at = find(&doors.tokens, token, TOKEN_LIFE, now)?;
        doors.tokens.remove(at);
        let cookie = session.hex();
        keep(&mut doors.sessions, session, MAX_SESSIONS);
        Some(cookie)
    }

    /// Whether a session is one of ours.
    pub(crate) fn knows(&self, session: &str) -> bool {
        self.knows_at(session, Instant::now())
    }

    fn knows_at(&self, session: &str, now: Instant) -> bool {
        find(&self.doors.lock().sessions, session, SESSION_LIFE, now).is_some()
    }

    /// Ends a session.
    pub(crate) fn end(&self, session: &str) {
        let mut doors = self.doors.lock();
        if let Some(at) = find(&doors.sessions, session, SESSION_LIFE, Instant::now()) {
            doors.sessions.remove(at);
        }
    }
}

impl Secret {
    fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        let got = getrandom(&mut bytes, GetRandomFlags::empty())?;
        if got == bytes.len() { Ok(Self(bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
    }

    /// Whether this is it; takes the same time wherever they differ.
    fn is(&self, text: &str) -> bool {
        let own = self.hex();
        own.len() == text.len()
            && own.bytes().zip(text.bytes()).fold(0, |all, (one, other)| all | (one ^ other)) == 0
    }
}

fn find(
    secrets: &VecDeque<(Secret, Instant)>,
    text: &str,
    life: Duration,
    now: Instant,
) -> Option<usize> {
    let is_alive = |since: Instant| now.saturating_duration_since(since) < life;
    secrets.iter().position(|(secret, since)| secret.is(text) && is_alive(*since))
}

/// Keeps a secret, and drops the oldest beyond the limit.
fn keep(secrets: &mut VecDeque<(Secret, Instant)>, secret: Secret, most: usize) {
    secrets.push_back((secret, Instant::now()));
    while secrets.len() > most {
        secrets.pop_front();
    }
}

const MAX_TOKENS: usize = 16;
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);
const MAX_SESSIONS: usize = 64;
/// How long a login lasts.
pub(crate) const SESSION_LIFE: Duration = Duration::from_secs(12 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links::new(([127, 0, 0, 1], 20001).into())
    }

    fn token(link: &LoginLink) -> String {
        link.to_string().split_once("token=").unwrap().1.to_owned()
    }

    #[test]
    fn a_link_works_once() {
        let links = links();
        let token = token(&links.mint().unwrap());
        let session = links.redeem(&token).unwrap();
        assert_eq!(links.redeem(&token), None);
        assert!(links.knows(&session));
        assert!(!links.knows(&token) && !links.knows("") && !links.knows(&session[1..]));
        links.end(&session);
        assert!(!links.knows(&session));
    }

    #[test]
    fn links_and_sessions_end() {
        let links = links();
        let old = token(&links.mint().unwrap());
        let session = links.redeem(&token(&links.mint().unwrap())).unwrap();
        let now = Instant::now();
        assert_eq!(links.redeem_at(&old, now + TOKEN_LIFE), None);
        assert!(links.knows_at(&session, now + TOKEN_LIFE));
        assert!(!links.knows_at(&session, now + SESSION_LIFE));
    }

    #[test]
    fn only_the_newest_links_are_valid() {
        let links = links();
        let first = token(&links.mint().unwrap());
        let others: Vec<String> = (0..MAX_TOKENS).map(|_| token(&links.mint().unwrap())).collect();
        assert_eq!(links.redeem(&first), None);
        assert!(others.iter().all(|token| links.redeem(token).is_some()));
    }
}
