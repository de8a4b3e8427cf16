//! What is wrong with a token.

/// Why a token is not accepted, in Envoy's words (`jwt_verify_lib`, `status.h`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fault {
    /// Not three parts.
    Form,
    /// The header is no base64url.
    HeaderEncoding,
    /// The header is no JSON object.
    HeaderJson,
    /// `alg` is missing or no string.
    AlgorithmMissing,
    /// `alg` is none that is known here.
    AlgorithmUnknown,
    /// `kid` is no string.
    KeyId,
    /// The payload is no base64url.
    PayloadEncoding,
    /// The payload is no JSON object.
    PayloadJson,
    /// `iss` is no string.
    IssuerType,
    /// `sub` is no string.
    SubjectType,
    /// `aud` is no string and no list of strings.
    AudienceType,
    /// `exp` is no number.
    ExpiryType,
    /// `exp` is negative or too large.
    ExpiryRange,
    /// `nbf` is no number.
    NotBeforeType,
    /// `nbf` is negative or too large.
    NotBeforeRange,
    /// The signature is no base64url.
    SignatureEncoding,
    /// `exp` has passed.
    Expired,
    /// `nbf` is yet to come.
    NotYetValid,
    /// No rule names the issuer.
    Issuer,
    /// None of the audiences is asked for: 403, where all others are 401.
    Audience,
    /// No key has this `kid`, or is for this `alg`.
    NoKey,
    /// The signature does not verify.
    Signature,
}

impl Fault {
    /// The reason, which is also the body of the answer.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Form => {
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
            }
            Self::HeaderEncoding => "Jwt header is an invalid Base64url encoded",
            Self::HeaderJson => "Jwt header is an invalid JSON",
            Self::AlgorithmMissing => "Jwt header [alg] field is required and must be a string",
            Self::AlgorithmUnknown => "Jwt header [alg] is not supported",
            Self::KeyId => "Jwt header [kid] field is not a string",
            Self::PayloadEncoding => "Jwt payload is an invalid Base64url encoded",
            Self::PayloadJson => "Jwt payload is an invalid JSON",
            Self::IssuerType => "Jwt payload [iss] field is not a string",
            Self::SubjectType => "Jwt payload [sub] field is not a string",
            Self::AudienceType => "Jwt payload [aud] field is not a string or string list",
            Self::ExpiryType => "Jwt payload [exp] field is not an integer",
            Self::ExpiryRange => "Jwt payload [exp] field is not a positive 64 bit integer",
            Self::NotBeforeType => "Jwt payload [nbf] field is not an integer",
            Self::NotBeforeRange => "Jwt payload [nbf] field is not a positive 64 bit integer",
            Self::SignatureEncoding => "Jwt signature is an invalid Base64url encoded",
            Self::Expired => "Jwt is expired",
            Self::NotYetValid => "Jwt not yet valid",
            Self::Issuer => "Jwt issuer is not configured",
            Self::Audience => "Audiences in Jwt are not allowed",
            Self::NoKey => "Jwks doesn't have key to match kid or alg from Jwt",
            Self::Signature => "Jwt verification fails",
        }
    }
}
