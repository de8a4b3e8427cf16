//! The protocols between sidecars and the control plane, as gRPC messages, clients and servers.
//!
//! Generated from `proto/` by `cargo xtask gen` and checked in; nothing here carries logic.
//! Transport and TLS are the callers' business: the clients take any `tonic` service.

/// Istio's certificate service (`istio.v1.auth`): a CSR in, a certificate chain out.
pub mod ca {
    pub use crate::ca_generated::{
        IstioCertificateRequest, IstioCertificateResponse,
        istio_certificate_service_client::IstioCertificateServiceClient,
        istio_certificate_service_server::{
            IstioCertificateService, IstioCertificateServiceServer,
        },
    };
}

/// Configuration streams (`palisade.config.v1`): generations out, acknowledgements in.
pub mod config {
    pub use crate::config_generated::{
        Acknowledge, ClientMessage, Config, Credential, Subscribe,
        client_message::Message,
        config_service_client::ConfigServiceClient,
        config_service_server::{ConfigService, ConfigServiceServer},
    };
}

/// Reports of sidecars (`palisade.telemetry.v1`): batches in, acknowledgements out.
pub mod telemetry {
    pub use crate::telemetry_generated::{
        Ack, Batch,
        telemetry_service_client::TelemetryServiceClient,
        telemetry_service_server::{TelemetryService, TelemetryServiceServer},
    };
}

/// Envoy's external authorization (`envoy.service.auth.v3`), as far as a sidecar asks and a test answers.
pub mod ext_authz {
    pub use crate::ext_authz_generated::{
        Address, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue,
        HeaderValueOption, HttpRequest, HttpStatus, OkHttpResponse, Peer, Request, SocketAddress,
        Status,
        authorization_server::{Authorization, AuthorizationServer},
        check_response::HttpResponse,
    };

    pub use prost::Message;

    /// What is called.
    pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
}

/// Spans as collectors take them (`opentelemetry.proto`), as far as a sidecar exports them.
pub mod otlp {
    pub use crate::otlp_generated::{
        AnyValue, ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, SpanKind,
        Status, StatusCode,
    };

    pub use prost::Message;

    /// What is called over gRPC.
    pub const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
}

#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]
#[path = "generated/istio.v1.auth.rs"]
mod ca_generated;

#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]
#[path = "generated/palisade.config.v1.rs"]
mod config_generated;

#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]
#[path = "generated/palisade.telemetry.v1.rs"]
mod telemetry_generated;

#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]
#[path = "generated/envoy.service.auth.v3.rs"]
mod ext_authz_generated;

#[expect(missing_docs, reason = "generated code")]
#[path = "generated/opentelemetry.proto.collector.trace.v1.rs"]
mod otlp_generated;

#[cfg(test)]
mod tests {
    use tonic::server::NamedService;

    use crate::{ca, config, telemetry};

    #[test]
    fn services_have_the_names_that_clients_call() {
        struct None;
        type Ca = ca::IstioCertificateServiceServer<None>;
        type Config = config::ConfigServiceServer<None>;
        type Telemetry = telemetry::TelemetryServiceServer<None>;
        assert_eq!(<Ca as NamedService>::NAME, "istio.v1.auth.IstioCertificateService");
        assert_eq!(<Config as NamedService>::NAME, "palisade.config.v1.ConfigService");
        assert_eq!(<Telemetry as NamedService>::NAME, "palisade.telemetry.v1.TelemetryService");
    }
}
