//! Processes that take tasks from a queue and put answers into another: `cargo run --example task_queue`.
//!
//! The last program in the documentation of Python's `multiprocessing`. There, the functions themselves are items of the
//! queue. Here they are named by an enum, since functions do not travel through queues yet; and the end is `None`.

use polyproc::{Process, Queue, current_process};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

const NUMBER_OF_PROCESSES: usize = 4;

/// What a worker can be asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Function {
    Mul,
    Plus,
}

type Task = (Function, i64, i64);

/// Run by the worker processes.
fn worker(input: Queue<Option<Task>>, output: Queue<String>) -> polyproc::Result<()> {
    while let Some(task) = input.get()? {
        output.put(calculate(task))?;
    }
    Ok(())
}

/// Calculates a result and says who did.
fn calculate((function, a, b): Task) -> String {
    let (name, result) = match function {
        Function::Mul => ("mul", a * b),
        Function::Plus => ("plus", a + b),
    };
    format!("{} says that {name}({a}, {b}) = {result}", current_process().name())
}

fn main() -> polyproc::Result<ExitCode> {
    polyproc::init(); // first line of main: the workers do their work here

    let tasks1 = (0..20).map(|i| (Function::Mul, i, 7));
    let tasks2 = (0..10).map(|i| (Function::Plus, i, 8));
    let task_queue = Queue::bounded(32)?;
    let done_queue = Queue::bounded(32)?;

    for task in tasks1.clone() {
        task_queue.put(Some(task))?;
    }
    let workers = (0..NUMBER_OF_PROCESSES)
        .map(|_| Process::spawn(worker, (task_queue.clone(), done_queue.clone())))
        .collect::<Result<Vec<_>, _>>()?;

    println!("Unordered results:");
    for _ in tasks1 {
        println!("\t{}", done_queue.get()?);
    }
    // More tasks while the workers run.
    for task in tasks2.clone() {
        task_queue.put(Some(task))?;
    }
    for _ in tasks2 {
        println!("\t{}", done_queue.get()?);
    }
    for _ in &workers {
        task_queue.put(None)?; // one end for each
    }
    for worker in workers {
        if !worker.join()?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
