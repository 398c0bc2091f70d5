//! Where a worker listens, as a user writes it.

use std::fmt;
use std::str::FromStr;

/// Host and port of a worker's HTTP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkerAddress {
    /// `host:port`, to be resolved.
    pub(super) authority: String,
}

impl FromStr for WorkerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected the address of a worker, such as http://10.0.0.7:8080, found `{text}`");
        if text.starts_with("https://") {
            return Err("workers speak http, not https; write http://HOST:PORT".to_owned());
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(expected)?;
        let is_host =
            |host: &str| !host.is_empty() && !host.contains(|c: char| "/?#@".contains(c) || !c.is_ascii_graphic());
        // Without brackets the last part of an IPv6 address would be taken for the port.
        let is_bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if !is_host(host) || is_bare_ipv6 || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(expected());
        }
        Ok(Self { authority: authority.to_owned() })
    }
}

impl fmt::Display for WorkerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for (text, authority) in [
            ("http://10.0.0.7:8080", "10.0.0.7:8080"),
            ("http://worker-0.workers:80/", "worker-0.workers:80"),
            ("localhost:8080", "localhost:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(text.parse(), Ok(WorkerAddress { authority: authority.to_owned() }));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "http://",
            "worker",
            "http://worker",
            "http://:80",
            "http://h:0",
            "http://h:99999",
            "http://h:80/forget",
            "http://u:p@h:80",
            "::1:80",
            "http://h x:80",
            "ftp://h:80",
            "http://h:80\r\nx: y",
        ] {
            assert!(text.parse::<WorkerAddress>().unwrap_err().contains("http://10.0.0.7:8080"), "{text:?}");
        }
        assert!("https://h:80".parse::<WorkerAddress>().unwrap_err().contains("not https"));
    }
}
