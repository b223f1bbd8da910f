//! Random types and random relocations: this crate and the rules written down a second time must agree, on the whole BTF as on the minimised one,
//! whichever programs of the object are loaded.

mod world;

use btf::{Btf, Endian};
use btf_minimize::{Access, Kernel, Object, Reason, Resolution, minimize, resolve};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use world::World;
use world::choices::{self, Choices};
use world::rules::{Answer, Relo, Rules, pointer_size};

/// A kernel, an object and relocations.
struct Case {
    kernel: World,
    object: World,
    relos: Vec<Relo>,
    endian: Endian,
}

impl Case {
    fn new(numbers: &[u32]) -> Case {
        let mut choices = Choices::new(numbers);
        let endian = [Endian::Little, Endian::Big][choices.below(2)];
        let kernel = choices::kernel(&mut choices);
        let object = choices::object(&mut choices, &kernel);
        let mut relos = vec![choices::relocation(&mut choices, &object)];
        while choices.go_on() && relos.len() < 24 {
            relos.push(choices::relocation(&mut choices, &object));
        }
        Case { kernel, object, relos, endian }
    }

    /// Fails with the first difference and everything that it is about.
    fn compare(&self, found: &[Answer], expected: &[Answer], what: &str) -> TestCaseResult {
        let Some(at) = (0..expected.len()).find(|&at| found.get(at) != Some(&expected[at])) else {
            return Ok(());
        };
        let list = |world: &World| {
            let types = world.types.iter().enumerate();
            types.map(|(id, ty)| format!("  {id} {:?} {:?}\n", ty.name, ty.shape)).collect::<String>()
        };
        prop_assert!(
            false,
            "{what}, answer {at}: {:?} instead of {:?}\nrelocations: {:?}\nkernel:\n{}object:\n{}",
            found.get(at),
            expected[at],
            self.relos,
            list(&self.kernel),
            list(&self.object)
        );
        Ok(())
    }

    fn rules<'w>(&'w self, target: &'w World) -> Rules<'w> {
        Rules { local: &self.object, target, target_pointer: pointer_size(target), endian: self.endian }
    }
}

/// The answer of this crate, as the rules would say it.
fn answer(resolution: &Result<Resolution, Reason>) -> Answer {
    match resolution {
        Ok(Resolution::Value { value, access }) => {
            Answer::Value(*value, access.map(|Access { size, adjustable }| (size, adjustable)))
        }
        Ok(Resolution::Poisoned) => Answer::Poison,
        Err(_) => Answer::Error,
    }
}

fn check(case: &Case, orders: &[Vec<usize>]) -> TestCaseResult {
    let whole = case.kernel.encode(case.endian);
    let file = world::elf::object(&case.object, &case.relos, case.endian);
    let kernel = Kernel::open(&whole).unwrap();
    let object = Object::parse(&file).unwrap();

    let expected = case.rules(&case.kernel).resolve(&case.relos.iter().collect::<Vec<_>>());
    let found: Vec<_> = resolve(&kernel, &object).iter().map(answer).collect();
    case.compare(&found, &expected, "on the whole BTF")?;

    let minimized = minimize(&kernel, std::slice::from_ref(&object)).unwrap();
    let small = Btf::parse(&minimized.btf).unwrap();
    prop_assert_eq!(small.endian(), case.endian);
    let errors = expected.iter().filter(|answer| **answer == Answer::Error).count();
    prop_assert_eq!(minimized.problems.len(), errors);
    let small = World::decode(&small);
    for order in orders {
        let relos: Vec<_> = order.iter().map(|&at| &case.relos[at % case.relos.len()]).collect();
        let whole = case.rules(&case.kernel).resolve(&relos);
        let mut minimal = case.rules(&small).resolve(&relos);
        for (answer, relo) in minimal.iter_mut().zip(&relos) {
            if let (Answer::Value(id @ 1.., _), 7) = (answer, relo.kind) {
                *id = minimized.types[*id as usize - 1].0.into();
            }
        }
        let of_error =
            whole.iter().position(|answer| *answer == Answer::Error).map_or(whole.len(), |at| at + 1);
        // A loader gives up at the first error.
        case.compare(
            &minimal[..of_error],
            &whole[..of_error],
            &format!("minimised, in the order {order:?}"),
        )?;
    }
    Ok(())
}

fn numbers() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 1..400)
}

fn orders() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0usize..64, 1..12), 8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Check that random relocations resolve as the rules say, and on the minimised BTF as on the whole one: all in order, each alone, and in
    /// random orders.
    #[test]
    fn minimized_resolves_alike(numbers in numbers(), mut orders in orders()) {
        let case = Case::new(&numbers);
        let count = case.relos.len();
        orders.push((0..count).collect());
        orders.push((0..count).rev().collect());
        orders.extend((0..count).map(|at| vec![at]));
        check(&case, &orders)?;
    }
}
