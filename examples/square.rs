//! The first program of every multiprocessing tutorial: `cargo run --example square`.

use polyproc::Pool;

fn square(x: u64) -> u64 {
    x * x
}

fn main() -> polyproc::Result<()> {
    polyproc::init(); // first line of main: the workers do their work here

    let pool = Pool::new(4)?;
    let results = pool.map(square, 0..10)?;
    println!("{results:?}");
    Ok(())
}
