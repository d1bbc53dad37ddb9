//! The gRPC side of the plugin protocol, without generated code: a request's path picks the answer.
//!
//! It serves Terraform's provider service and the three services of go-plugin, the library with which Terraform runs
//! plugins. Any other method answers UNIMPLEMENTED, which Terraform reads as "this provider does not have that method".

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Service, http, tokio_stream},
    server::{Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService},
    service::Routes,
};
use tonic_prost::ProstCodec;

use super::{protocol::Answers, wire};

/// The services of one plugin. `shutdown` is cancelled when Terraform asks the plugin to end.
pub(super) fn routes(provider: Arc<dyn Answers>, shutdown: CancellationToken) -> Routes {
    Routes::new(ProviderService(provider))
        .add_service(Controller(shutdown))
        .add_service(Stdio)
        .add_service(Broker)
        .prepare()
}

type HttpRequest = http::Request<Body>;
type HttpResponse = http::Response<Body>;

/// A function as a unary method.
struct Unary<In, Out>(Box<dyn FnMut(In) -> future::BoxFuture<'static, Out> + Send>);

impl<In, Out> UnaryService<In> for Unary<In, Out>
where
    Out: 'static,
{
    type Response = Out;
    type Future = BoxFuture<Response<Out>, Status>;

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let answer = (self.0)(request.into_inner());
        Box::pin(async move { Ok(Response::new(answer.await)) })
    }
}

/// Boxed, because the compiler cannot see that the futures of `dyn Answers` are `Send`.
fn unary<In, Out, Answer>(
    request: HttpRequest,
    mut answer: impl FnMut(In) -> Answer + Send + 'static,
) -> future::BoxFuture<'static, HttpResponse>
where
    In: prost::Message + Default + 'static,
    Out: prost::Message + 'static,
    Answer: Future<Output = Out> + Send + 'static,
{
    let method = Unary(Box::new(move |message| answer(message).boxed()));
    Box::pin(async move { Grpc::new(ProstCodec::<Out, In>::default()).unary(method, request).await })
}

fn method(request: &HttpRequest) -> String {
    request.uri().path().rsplit('/').next().unwrap_or_default().to_owned()
}

fn unimplemented() -> HttpResponse {
    Status::unimplemented("this provider does not have that method").into_http()
}

/// Declares a service: its name, and the answer to one request.
macro_rules! service {
    ($type:ty, $name:literal, $answer:expr) => {
        impl NamedService for $type {
            const NAME: &'static str = $name;
        }

        impl Service<HttpRequest> for $type {
            type Response = HttpResponse;
            type Error = Infallible;
            type Future = BoxFuture<HttpResponse, Infallible>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: HttpRequest) -> Self::Future {
                let service = self.clone();
                Box::pin(async move { Ok($answer(service, request).await) })
            }
        }
    };
}

#[derive(Clone)]
struct ProviderService(Arc<dyn Answers>);

service!(ProviderService, "tfplugin6.Provider", answer);

async fn answer(ProviderService(provider): ProviderService, request: HttpRequest) -> HttpResponse {
    match method(&request).as_str() {
        "GetProviderSchema" => {
            unary(request, move |(): ()| {
                let schema = provider.schema();
                async { schema }
            })
            .await
        }
        "ValidateProviderConfig" | "ConfigureProvider" => {
            unary(request, |(): ()| async { wire::DiagnosticsResponse::default() }).await
        }
        "ValidateResourceConfig" => {
            unary(request, move |request| {
                let response = provider.validate(&request);
                async { response }
            })
            .await
        }
        "UpgradeResourceState" => {
            unary(request, move |request| {
                let response = provider.upgrade_state(&request);
                async { response }
            })
            .await
        }
        "PlanResourceChange" => {
            unary(request, move |request| {
                let response = provider.plan(&request);
                async { response }
            })
            .await
        }
        "ReadResource" => unary(request, move |request| Arc::clone(&provider).read(request)).await,
        "ApplyResourceChange" => unary(request, move |request| Arc::clone(&provider).apply(request)).await,
        "ImportResourceState" => unary(request, move |request| Arc::clone(&provider).import(request)).await,
        "StopProvider" => unary(request, move |(): ()| Arc::clone(&provider).stop()).await,
        _ => unimplemented(),
    }
}

/// go-plugin's way to end a plugin.
#[derive(Clone)]
struct Controller(CancellationToken);

service!(Controller, "plugin.GRPCController", control);

async fn control(Controller(shutdown): Controller, request: HttpRequest) -> HttpResponse {
    if method(&request) != "Shutdown" {
        return unimplemented();
    }
    unary(request, move |(): ()| {
        let shutdown = shutdown.clone();
        async move { shutdown.cancel() }
    })
    .await
}

/// A stream that stays open without messages: go-plugin opens two, and takes the end of either for the end of the
/// plugin.
struct Silence;

type Silent = tokio_stream::Pending<Result<(), Status>>;

impl ServerStreamingService<()> for Silence {
    type Response = ();
    type ResponseStream = Silent;
    type Future = std::future::Ready<Result<Response<Silent>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new(tokio_stream::pending())))
    }
}

impl StreamingService<()> for Silence {
    type Response = ();
    type ResponseStream = Silent;
    type Future = std::future::Ready<Result<Response<Silent>, Status>>;

    fn call(&mut self, _: Request<Streaming<()>>) -> Self::Future {
        std::future::ready(Ok(Response::new(tokio_stream::pending())))
    }
}

#[derive(Clone)]
struct Stdio;

service!(Stdio, "plugin.GRPCStdio", stdio);

async fn stdio(Stdio: Stdio, request: HttpRequest) -> HttpResponse {
    Grpc::new(ProstCodec::<(), ()>::default()).server_streaming(Silence, request).await
}

#[derive(Clone)]
struct Broker;

service!(Broker, "plugin.GRPCBroker", broker);

async fn broker(Broker: Broker, request: HttpRequest) -> HttpResponse {
    Grpc::new(ProstCodec::<(), ()>::default()).streaming(Silence, request).await
}
