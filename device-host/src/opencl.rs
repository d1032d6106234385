//! OpenCL devices, by the crate `ocl`. One of the files with `unsafe`: what OpenCL runs and maps has no safe form.

#![allow(unsafe_code, reason = "kernels and mappings of OpenCL have no safe form")]

use crate::{
    api::{Api, Device, OpenError, device_id},
    manifest,
};
use citius_kernels::{
    device::{ENTRY_POINT, Kernel as KernelName},
    protocol::{DeviceClass, DeviceInfo, Job, Program as Precompiled, Region},
};
use ocl::{
    Buffer, Context, Kernel, MemFlags, Platform, Program, Queue,
    core::{
        self, DeviceInfo as Query, DeviceInfoResult, DeviceType, KernelWorkGroupInfo,
        KernelWorkGroupInfoResult, ProgramInfo, ProgramInfoResult,
    },
    flags::MapFlags,
    prm::Uint2,
};

/// Work-items a group with one message each, where the device takes so many.
const GROUP_NDRANGE: usize = 64;

/// Work-items a group with eight messages each.
const GROUP_VEC8: usize = 8;

/// The smallest buffer, in elements.
const ELEMENTS_MIN: usize = 512;

/// OpenCL, by the system's loader.
pub(crate) struct OpenCl;

impl Api for OpenCl {
    fn list(&self) -> Vec<DeviceInfo> {
        devices().into_iter().map(|(info, ..)| info).collect()
    }

    fn open(
        &self,
        id: &str,
        kernel: KernelName,
        program: Option<&Precompiled>,
    ) -> Option<Result<Box<dyn Device>, OpenError>> {
        let (info, platform, device) = devices().into_iter().find(|(info, ..)| info.id == id)?;
        if program.is_some() && kernel != KernelName::Fpga {
            return Some(Err(OpenError::Precompiled { kernel }));
        }
        if !info.kernels.contains(&kernel) {
            return Some(Err(OpenError::Kernel { id: info.id, kernel }));
        }
        let opened = match program.map(|program| manifest::load(program, kernel, &info.name)).transpose() {
            Ok(binary) => Card::open(platform, device, kernel, binary.as_deref()),
            Err(error) => Err(error.into()),
        };
        Some(opened.map(|card| Box::new(card) as Box<dyn Device>))
    }
}

/// The program that the driver makes of `kernel` for the device `id`, and the device's name; `None` without such a
/// device.
pub(crate) fn compile(id: &str, kernel: KernelName) -> Option<Result<(Vec<u8>, String), OpenError>> {
    let (info, platform, device) = devices().into_iter().find(|(info, ..)| info.id == id)?;
    let compiled = (|| {
        let context = Context::builder().platform(platform).devices(device).build()?;
        let program = build(&context, device, kernel, None)?;
        match core::get_program_info(program.as_core(), ProgramInfo::Binaries)? {
            ProgramInfoResult::Binaries(binaries) if binaries.len() == 1 => Ok(binaries.concat()),
            other => Err(ocl::Error::from(format!("no binary but {other}"))),
        }
    })();
    let compiled = compiled.map_err(|error| OpenError::driver("compiling the kernel", error));
    Some(compiled.map(|binary| (binary, info.name)))
}

fn devices() -> Vec<(DeviceInfo, Platform, ocl::Device)> {
    let mut found: Vec<(DeviceInfo, Platform, ocl::Device)> = Vec::new();
    // Without a platform this takes ten seconds: the crate waits for one.
    for platform in core::get_platform_ids().unwrap_or_default().into_iter().map(Platform::new) {
        for device in ocl::Device::list_all(platform).unwrap_or_default() {
            let (Ok(name), Ok(true)) = (device.name(), device.is_available()) else { continue };
            let version = match device.info(Query::DriverVersion) {
                Ok(DeviceInfoResult::DriverVersion(version)) => version,
                _ => String::new(),
            };
            let class = match device.info(Query::Type) {
                Ok(DeviceInfoResult::Type(kind)) if kind.contains(DeviceType::CPU) => DeviceClass::Cpu,
                Ok(DeviceInfoResult::Type(kind)) if kind.contains(DeviceType::GPU) => DeviceClass::Gpu,
                _ => DeviceClass::Accelerator,
            };
            let before: Vec<DeviceInfo> = found.iter().map(|(info, ..)| info.clone()).collect();
            let info = DeviceInfo {
                id: device_id("opencl", &name, &before),
                api: "opencl".into(),
                driver: format!("{} {version}", platform.name().unwrap_or_default()).trim().to_owned(),
                name,
                class,
                kernels: match class {
                    DeviceClass::Cpu => vec![KernelName::Vec8, KernelName::NdRange, KernelName::Fpga],
                    DeviceClass::Gpu => vec![KernelName::NdRange, KernelName::Vec8, KernelName::Fpga],
                    // Many work-items on an FPGA are as many turns of a badly fed pipeline.
                    DeviceClass::Accelerator => vec![KernelName::Fpga],
                },
            };
            found.push((info, platform, device));
        }
    }
    found
}

fn build(
    context: &Context,
    device: ocl::Device,
    kernel: KernelName,
    binary: Option<&[u8]>,
) -> ocl::Result<Program> {
    match binary {
        Some(binary) => Program::builder().binaries(&[binary]).devices(device).build(context),
        None => {
            Program::builder().src(kernel.source()).cmplr_opt("-cl-std=CL1.2").devices(device).build(context)
        }
    }
}

/// An opened device with its compiled kernel and buffers, which grow as batches do.
///
/// Context and queue are named in every call: Intel's emulator does not take back the context that its queue names.
struct Card {
    context: Context,
    queue: Queue,
    program: Program,
    /// Messages a work-item; all of them where there is one item.
    per_item: usize,
    /// Work-items a group. Not left to the driver: PoCL chooses by their number, and compiles anew for each choice.
    group: usize,
    buffers: Buffers,
}

struct Buffers {
    arena: Buffer<u64>,
    messages: Buffer<Uint2>,
    digests: Buffer<u64>,
    kernel: Kernel,
}

impl Card {
    fn open(
        platform: Platform,
        device: ocl::Device,
        kernel: KernelName,
        binary: Option<&[u8]>,
    ) -> Result<Self, OpenError> {
        let context = Context::builder()
            .platform(platform)
            .devices(device)
            .build()
            .map_err(|error| OpenError::driver("opening the device", error))?;
        let queue = Queue::new(&context, device, None)
            .map_err(|error| OpenError::driver("opening the device", error))?;
        let program = build(&context, device, kernel, binary)
            .map_err(|error| OpenError::driver("compiling the kernel", error))?;
        let buffers = Buffers::new(&context, &program, [ELEMENTS_MIN; 2])
            .map_err(|error| OpenError::driver("allocating buffers", error))?;
        let (per_item, group) = match kernel {
            KernelName::Fpga => (usize::MAX, 1),
            KernelName::Vec8 => (8, GROUP_VEC8),
            _ => (1, GROUP_NDRANGE),
        };
        let most = match buffers.kernel.wg_info(device, KernelWorkGroupInfo::WorkGroupSize) {
            Ok(KernelWorkGroupInfoResult::WorkGroupSize(most)) => most.max(1),
            _ => 1,
        };
        Ok(Self { context, queue, program, per_item, group: group.min(most), buffers })
    }

    fn run(&mut self, region: &Region, job: Job, table: &[(u32, u32)]) -> ocl::Result<()> {
        let needed = [job.arena_words, job.count];
        let current = [self.buffers.arena.len(), self.buffers.messages.len()];
        if needed[0] > current[0] || needed[1] > current[1] {
            let grown = [0, 1].map(|index: usize| needed[index].next_power_of_two().max(current[index]));
            self.buffers = Buffers::new(&self.context, &self.program, grown)?;
        }
        let Buffers { arena, messages, digests, kernel } = &self.buffers;
        let write = MapFlags::new().write_invalidate_region();
        if job.arena_words > 0 {
            // SAFETY: no command that uses the buffer is under way: the queue is in order, and `enq` of a mapping
            // waits. The mapping is used by this thread alone and ended before the kernel is enqueued.
            let mut mapped =
                unsafe { arena.map().queue(&self.queue).flags(write).len(job.arena_words).enq()? };
            mapped.iter_mut().zip(region.arena(0..job.arena_words)).for_each(|(to, from)| *to = from);
            mapped.unmap().queue(&self.queue).enq()?;
        }
        // SAFETY: as above.
        let mut mapped = unsafe { messages.map().queue(&self.queue).flags(write).len(job.count).enq()? };
        mapped.iter_mut().zip(table).for_each(|(to, &(start, length))| *to = Uint2::new(start, length));
        mapped.unmap().queue(&self.queue).enq()?;

        kernel.set_arg(2, u32::try_from(job.count).expect("a checked count is small"))?;
        let items = job.count.div_ceil(self.per_item).next_multiple_of(self.group);
        let command = kernel.cmd().queue(&self.queue).global_work_size(items).local_work_size(self.group);
        // SAFETY: the kernel reads the first `count` entries of `messages` and the words they name, and writes four
        // words a message to `digests`: `Job::check` holds the entries against the arena's used words, which were
        // written above, and `Buffers::new` made all three large enough. That the driver compiled the kernel into
        // what it says is not known; this process exists for that.
        unsafe { command.enq()? };

        // SAFETY: the queue is in order, so the kernel has ended when the mapping is there; nobody writes to it.
        let mapped = unsafe {
            digests.map().queue(&self.queue).flags(MapFlags::new().read()).len(4 * job.count).enq()?
        };
        for (index, digest) in mapped.as_chunks::<4>().0.iter().enumerate() {
            region.set_digest(index, *digest);
        }
        let mut mapped = mapped;
        mapped.unmap().queue(&self.queue).enq()?;
        self.queue.finish()
    }
}

impl Buffers {
    /// Buffers for so many words of the arena and so many messages.
    fn new(context: &Context, program: &Program, [arena_words, count]: [usize; 2]) -> ocl::Result<Self> {
        // Memory that both sides reach: on a processor nothing is copied, on a card it is pinned.
        let input = MemFlags::new().read_only().alloc_host_ptr();
        let output = MemFlags::new().write_only().alloc_host_ptr();
        let arena = Buffer::builder().context(context).flags(input).len(arena_words).build()?;
        let messages = Buffer::builder().context(context).flags(input).len(count).build()?;
        let digests = Buffer::builder().context(context).flags(output).len(4 * count).build()?;
        let kernel = Kernel::builder()
            .program(program)
            .name(ENTRY_POINT)
            .arg(&arena)
            .arg(&messages)
            .arg(0_u32)
            .arg(&digests)
            .build()?;
        Ok(Self { arena, messages, digests, kernel })
    }
}

impl Device for Card {
    fn hash(&mut self, region: &Region, job: Job, table: &[(u32, u32)]) -> Result<(), OpenError> {
        self.run(region, job, table).map_err(|error| OpenError::driver("running the kernel", error))
    }
}
