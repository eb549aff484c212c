//! Claims about traces: what a job does belongs to the trace of what caused it, in whatever process and however late.

use opentelemetry::trace::{SpanId, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use sira_engine::{Effect, NewJob, NewWorkflow};
use sira_kernel::TraceParent;
use tracing_subscriber::layer::SubscriberExt;

use super::children::{Crew, Member};
use super::world::{DONE, Do, World};

const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OF_IT: &str =
    "select count(*) from engine.jobs where trace_parent like '00-4bf92f3577b34da6a3ce929d0e0e4736-%'";

#[tokio::test]
async fn a_job_and_what_it_causes_belong_to_the_trace_of_what_caused_it() {
    let w = World::new().await;
    let crew = Crew::start("c", &["a", "b"]);
    let caused = async {
        w.apply(&[Effect::Job(NewJob::of(&Member { name: "single".to_owned() })), crew]).await;
        w.enqueue("plain", None).await;
    };
    TraceParent::parse(HEADER).unwrap().instrument(tracing::Span::none(), caused).await;
    assert_eq!(w.count(OF_IT).await, 3, "as it was given, also where no span is exported");
    w.enqueue("apart", None).await;
    assert_eq!(w.count("select count(*) from engine.jobs where trace_parent is null").await, 1);

    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    // While there is one subscriber alone, a span is judged by the thread that comes to it first, and that may be another test's.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    // Everything of this test runs on this thread.
    let _exported = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    w.cx.script("plain", &[Do::Snooze(60), Do::Done]);
    let running = w.start_with(World::registry().workflow::<Crew>().job::<Member>(), World::settings()).await;
    w.until("select count(*) from engine.attempts where outcome = 'snoozed'", 1).await;
    w.advance(61);
    w.until(DONE, 7).await;
    running.drain(std::time::Duration::from_secs(5)).await;

    let finished = spans.get_finished_spans().unwrap();
    let jobs: Vec<&SpanData> = finished.iter().filter(|span| span.name == "job").collect();
    let of_it: Vec<_> =
        jobs.iter().filter(|span| span.span_context.trace_id().to_string() == HEADER[3..35]).collect();
    // Two of the one that was snoozed, the single one, two steps, two children.
    assert_eq!((jobs.len(), of_it.len()), (8, 7), "{jobs:#?}");
    let root = SpanId::from_hex(&HEADER[36..52]).unwrap();
    assert!(of_it.iter().all(|span| span.parent_span_id == root), "{of_it:#?}");
    let names: Vec<_> = of_it.iter().map(|span| attribute(span, "job.name")).collect();
    assert_eq!(names.iter().filter(|name| *name == "test.member").count(), 3);
    assert_eq!(names.iter().filter(|name| *name == "step:test.crew").count(), 2);
}

fn attribute(span: &SpanData, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_workflow_that_sleeps_goes_on_in_the_trace_that_started_it() {
    let w = World::new().await;
    let in_an_hour = w.cx.clock.now() + chrono::TimeDelta::hours(1);
    let asleep = NewWorkflow::of(&Crew::named("c", &[])).asleep_until(in_an_hour);
    let effects = [Effect::Start(asleep)];
    TraceParent::parse(HEADER).unwrap().instrument(tracing::Span::none(), w.apply(&effects)).await;
    let _running = w.start_with(World::registry().job::<Member>(), World::settings()).await;
    w.advance(3601);
    w.until(OF_IT, 1).await;
}
