//! The steps of a long test that share one expensive cluster: a step that fails is recorded, and the next steps run.

mod tests;

use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::{cell::RefCell, pin::pin, sync::Once, task::Poll, thread, time::Instant};

thread_local! {
    /// Message and place of this thread's last panic, which the panic's payload does not have.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Fails the test when it is dropped if a step failed or did not run.
pub(crate) struct Steps {
    not_passed: Vec<String>,
}

/// What a step returned, if it passed.
pub(crate) struct Done<T> {
    name: String,
    value: Option<T>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let print = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                LAST_PANIC.set(info.to_string());
                print(info);
            }));
        });
        Self { not_passed: Vec::new() }
    }

    /// Runs a step and records its failure. The name says subject, condition, result.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> Done<T> {
        let started = begin(name);
        self.record(name, started, catch_unwind(AssertUnwindSafe(work)))
    }

    /// The same for an asynchronous step.
    pub(crate) async fn step_async<T>(&mut self, name: &str, work: impl Future<Output = T>) -> Done<T> {
        let started = begin(name);
        let mut work = pin!(work);
        let polled = std::future::poll_fn(|context| {
            let poll = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
            poll.map_or_else(|panic| Poll::Ready(Err(panic)), |poll| poll.map(Ok))
        });
        self.record(name, started, polled.await)
    }

    /// Runs a step on the value of an earlier one, which must have passed.
    pub(crate) fn needs<N, T>(&mut self, needed: &Done<N>, name: &str, work: impl FnOnce(&N) -> T) -> Done<T> {
        if let Some(value) = &needed.value {
            return self.step(name, || work(value));
        }
        println!("== {name}: not run");
        self.not_passed.push(format!("{name}: not run: `{}` did not pass", needed.name));
        Done { name: name.to_owned(), value: None }
    }

    /// Runs a step that all later steps need: its failure ends the test.
    pub(crate) fn must<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T {
        self.step(name, work).value.unwrap_or_else(|| panic!("the later steps need `{name}`, which failed"))
    }

    /// Ends the test while its clusters exist, so that they keep their records when a step failed.
    pub(crate) fn finish(self) {}

    fn record<T>(&mut self, name: &str, started: Instant, outcome: thread::Result<T>) -> Done<T> {
        let result = if outcome.is_ok() { "passed" } else { "FAILED" };
        println!("== {name}: {result} after {:.1} s", started.elapsed().as_secs_f64());
        if outcome.is_err() {
            self.not_passed.push(format!("{name}: {}", LAST_PANIC.take()));
        }
        Done { name: name.to_owned(), value: outcome.ok() }
    }
}

fn begin(name: &str) -> Instant {
    println!("== {name}");
    Instant::now()
}

impl Drop for Steps {
    fn drop(&mut self) {
        let list = format!("steps that did not pass: {}\n- {}", self.not_passed.len(), self.not_passed.join("\n- "));
        // A panic while another panic unwinds would abort all tests.
        match (self.not_passed.is_empty(), thread::panicking()) {
            (true, _) => {}
            (false, true) => println!("{list}"),
            (false, false) => panic!("{list}"),
        }
    }
}
