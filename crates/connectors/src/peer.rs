//! Connectors of the dataspace that we send messages to. Where a peer takes messages is the operator's to say: an address that a
//! peer names has to be at or below that, so that nobody has us call a third party, or a machine of our own.

use reqwest::{Client, Url, header};
use zeroize::Zeroizing;

use crate::notify::{self, NotifyError, NotifyFault};

/// Longest address.
const ADDRESS_BYTES_MAX: usize = 1_024;

/// A peer's connector.
pub struct Peer {
    client: Client,
    base: Url,
    authorization: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Peer(..)")
    }
}

impl Peer {
    /// A connector at or below this address, trusted through these authorities alone. `authorization` is sent as the header of
    /// that name.
    ///
    /// # Errors
    /// [`NotifyError`] when the address or the certificates cannot be used.
    pub fn new(base: &str, trusted_pem: &str, authorization: Option<&str>) -> Result<Self, NotifyError> {
        let base = address(&format!("{}/", base.trim_end_matches('/'))).ok_or(NotifyError::NotHttps)?;
        let authorization = authorization.map(|text| Zeroizing::new(text.trim().to_owned()));
        Ok(Self { client: notify::client(base.as_str(), trusted_pem)?, base, authorization })
    }

    /// Where messages go that are to be sent to this address: the address with a slash at its end, if it is one of the peer's.
    pub fn callback(&self, said: &str) -> Option<String> {
        let said = address(&format!("{}/", said.trim_end_matches('/')))?;
        let is_theirs = said.origin() == self.base.origin() && said.path().starts_with(self.base.path());
        is_theirs.then(|| said.into())
    }

    /// Sends a message to this path below a callback.
    ///
    /// # Errors
    /// [`NotifyFault`] when it was not taken. An address that is not the peer's is one that cannot be reached.
    pub async fn send(&self, callback: &str, path: &[&str], body: String) -> Result<(), NotifyFault> {
        let callback = self.callback(callback).ok_or(NotifyFault::Unreachable)?;
        let mut url: Url = callback.parse().map_err(|_| NotifyFault::Unreachable)?;
        // Each is one segment, whatever it holds.
        url.path_segments_mut().map_err(|()| NotifyFault::Unreachable)?.pop_if_empty().extend(path);
        let mut request = self.client.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.as_str());
        }
        notify::outcome(request.send().await)
    }
}

/// An address that means one place only.
fn address(text: &str) -> Option<Url> {
    let plain = text.len() <= ADDRESS_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    // What two readers could read as two places: encoded slashes and dots, backslashes.
    let ambiguous = ["\\", "%2f", "%2e", "%5c", "/../", "/./"];
    let lower = text.to_ascii_lowercase();
    if !plain || ambiguous.iter().any(|part| lower.contains(part)) {
        return None;
    }
    let url: Url = text.parse().ok()?;
    let is_bare = url.username().is_empty() && url.password().is_none();
    (url.scheme() == "https" && is_bare && url.query().is_none() && url.fragment().is_none()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_at_or_below_the_registered_address() {
        let peer = Peer::new("https://connector.example.org/dsp", "", None).unwrap();
        for theirs in [
            "https://connector.example.org/dsp",
            "https://connector.example.org/dsp/",
            "https://connector.example.org:443/dsp/callback",
            "https://CONNECTOR.example.org/dsp/a",
        ] {
            let kept = peer.callback(theirs).unwrap();
            assert!(kept.starts_with("https://connector.example.org/dsp/") && kept.ends_with('/'), "{kept}");
        }
        for other in [
            "https://connector.example.org/",
            "https://connector.example.org/dspx",
            "https://connector.example.org/dsp/../admin",
            "https://connector.example.org/dsp/%2e%2e/admin",
            "https://connector.example.org/dsp/..%2fadmin",
            "https://connector.example.org/dsp\\..\\admin",
            "https://connector.example.org/dsp/?to=x",
            "https://connector.example.org/dsp/#x",
            "https://connector.example.org@169.254.169.254/dsp/",
            "https://user@connector.example.org/dsp/",
            "https://connector.example.org:8443/dsp/",
            "https://connector.example.org.evil.example/dsp/",
            "http://connector.example.org/dsp/",
            "https://169.254.169.254/dsp/",
            "file:///dsp/",
            "//connector.example.org/dsp/",
            "dsp",
            "",
        ] {
            assert_eq!(peer.callback(other), None, "{other}");
        }
        assert!(Peer::new("http://connector.example.org/dsp", "", None).is_err());
    }
}
