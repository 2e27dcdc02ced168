//! What the status of a provider's response means, and how long it asks us to wait.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::error::CallError;

/// The meaning of a status that is no success.
pub(crate) fn meaning(status: u16, retry_after: Option<Duration>) -> CallError {
    match status {
        429 => CallError::Busy { retry_after },
        503 if retry_after.is_some() => CallError::Busy { retry_after },
        // A redirect is not followed: the address is wrong, as it is for what is not found.
        300..=399 | 401..=404 => CallError::Configuration { status },
        408 | 500.. => CallError::Failed { status: Some(status) },
        _ => CallError::Rejected { status },
    }
}

/// Seconds or a date; what is neither counts as absent, a date in the past as now.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let wait = OffsetDateTime::parse(value, &Rfc2822).ok()? - OffsetDateTime::now_utc();
    Some(wait.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn wait(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        assert_eq!(wait("2"), Some(Duration::from_secs(2)));
        assert_eq!(wait("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("1000000000"), Some(Duration::from_secs(1_000_000_000)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(wait("Fri, 21 Oct 2095 07:28:00 GMT").unwrap() > Duration::from_secs(1_000_000_000));
        for nonsense in ["-1", "soon", "", "NaN", "inf", "1e300"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }
}
