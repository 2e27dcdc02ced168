//! `sqlx::migrate!` compiles the migrations in, but only the build script can notice a new file among them.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
