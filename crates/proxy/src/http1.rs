//! HTTP/1.1 on sockets: reading heads, passing requests up and responses down, answering ourselves.
//! What the bytes mean is decided in crate `http`; what is allowed, by the callers.

pub(crate) use client::{Client, Next};
pub(crate) use download::{Download, DownloadError};
pub(crate) use exchange::{Exchange, ExchangeError};
pub(crate) use scratch::{Scratch, Scratches};
pub(crate) use upload::{Upload, UploadError};

mod client;
mod download;
mod exchange;
mod scratch;
mod upload;
