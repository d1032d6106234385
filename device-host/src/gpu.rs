//! Vulkan devices, by wgpu.

use crate::api::{Api, Device, OpenError, device_id};
use citius_kernels::{
    device::{ENTRY_POINT, Kernel, ROUND_CONSTANTS},
    protocol::{DeviceClass, DeviceInfo, Job, Program, Region},
};
use std::{
    num::NonZeroU64,
    sync::mpsc::{self, RecvTimeoutError},
};
use wgpu::{
    Adapter, Backends, BindGroup, BindGroupDescriptor, BindGroupEntry, Buffer, BufferDescriptor,
    BufferUsages, ComputePassDescriptor, ComputePipeline, ComputePipelineDescriptor, DeviceDescriptor,
    DeviceType, Features, Instance, InstanceDescriptor, InstanceFlags, Limits, MapMode, PollType, Queue,
    ShaderModuleDescriptor, ShaderSource,
};

/// Invocations a workgroup, as the kernels have it.
const WORKGROUP_SIZE: u32 = 64;

/// The smallest buffer, in bytes.
const BUFFER_BYTES_MIN: u64 = 4096;

/// Vulkan; without a loader or a driver it has no devices.
pub(crate) struct Vulkan;

impl Api for Vulkan {
    fn list(&self) -> Vec<DeviceInfo> {
        adapters().into_iter().map(|(info, _)| info).collect()
    }

    fn open(
        &self,
        id: &str,
        kernel: Kernel,
        program: Option<&Program>,
    ) -> Option<Result<Box<dyn Device>, OpenError>> {
        let (info, adapter) = adapters().into_iter().find(|(info, _)| info.id == id)?;
        if program.is_some() {
            return Some(Err(OpenError::Precompiled { kernel }));
        }
        if !info.kernels.contains(&kernel) {
            return Some(Err(OpenError::Kernel { id: info.id, kernel }));
        }
        Some(Gpu::open(&adapter, kernel).map(|gpu| Box::new(gpu) as Box<dyn Device>))
    }
}

fn adapters() -> Vec<(DeviceInfo, Adapter)> {
    let mut descriptor = InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::VULKAN;
    // No validation layers in debug builds either: tests should run what ships.
    descriptor.flags = InstanceFlags::empty();
    let instance = Instance::new(descriptor);
    let mut found: Vec<(DeviceInfo, Adapter)> = Vec::new();
    for adapter in pollster::block_on(instance.enumerate_adapters(Backends::VULKAN)) {
        let info = adapter.get_info();
        let mut kernels = vec![Kernel::Wgsl];
        if adapter.features().contains(Features::SHADER_INT64) {
            kernels.insert(0, Kernel::WgslInt64);
        }
        let before: Vec<DeviceInfo> = found.iter().map(|(info, _)| info.clone()).collect();
        let info = DeviceInfo {
            id: device_id("vulkan", &info.name, &before),
            api: "vulkan".into(),
            name: info.name,
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            class: match info.device_type {
                DeviceType::Cpu => DeviceClass::Cpu,
                DeviceType::DiscreteGpu | DeviceType::IntegratedGpu | DeviceType::VirtualGpu => {
                    DeviceClass::Gpu
                }
                DeviceType::Other => DeviceClass::Accelerator,
            },
            kernels,
        };
        found.push((info, adapter));
    }
    found
}

/// An opened adapter with its pipeline and buffers, which grow as batches do.
struct Gpu {
    device: wgpu::Device,
    queue: Queue,
    pipeline: ComputePipeline,
    limits: Limits,
    parameters: Buffer,
    buffers: Buffers,
}

struct Buffers {
    arena: Buffer,
    messages: Buffer,
    digests: Buffer,
    /// The digests where the processor may read them.
    read_back: Buffer,
    binding: BindGroup,
}

impl Gpu {
    fn open(adapter: &Adapter, kernel: Kernel) -> Result<Self, OpenError> {
        let limits = adapter.limits();
        let features = if kernel == Kernel::WgslInt64 { Features::SHADER_INT64 } else { Features::empty() };
        let descriptor = DeviceDescriptor {
            required_features: features,
            required_limits: limits.clone(),
            ..DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| OpenError::driver("opening the device", error))?;
        let module = device.create_shader_module(ShaderModuleDescriptor {
            label: Some(kernel.name()),
            source: ShaderSource::Wgsl(kernel.source().into()),
        });
        let pipeline = device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: Some(kernel.name()),
            layout: None,
            module: &module,
            entry_point: Some(ENTRY_POINT),
            compilation_options: Default::default(),
            cache: None,
        });
        let parameters = device.create_buffer(&BufferDescriptor {
            label: Some("parameters"),
            size: 16 + size_of_val(&ROUND_CONSTANTS) as u64,
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let constants: Vec<u8> = ROUND_CONSTANTS.iter().flat_map(|word| word.to_le_bytes()).collect();
        queue.write_buffer(&parameters, 16, &constants);
        let buffers = Buffers::new(&device, &pipeline, &parameters, [BUFFER_BYTES_MIN; 3]);
        Ok(Self { device, queue, pipeline, limits, parameters, buffers })
    }

    /// Makes the buffers large enough for this command.
    fn reserve(&mut self, job: Job) -> Result<(), OpenError> {
        let needed = [job.arena_words as u64 * 8, job.count as u64 * 8, job.count as u64 * 32];
        let current = [&self.buffers.arena, &self.buffers.messages, &self.buffers.digests].map(Buffer::size);
        if needed.iter().zip(&current).all(|(needed, current)| needed <= current) {
            return Ok(());
        }
        let most = self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size);
        if let Some(bytes) = needed.into_iter().find(|bytes| *bytes > most) {
            let reason = format!("{bytes} bytes: expected at most {most}");
            return Err(OpenError::driver("allocating a buffer", reason));
        }
        let grown = [0, 1, 2].map(|index: usize| {
            needed[index].checked_next_power_of_two().unwrap_or(most).clamp(current[index], most)
        });
        self.buffers = Buffers::new(&self.device, &self.pipeline, &self.parameters, grown);
        Ok(())
    }

    /// Fills the first words of a buffer.
    fn write(&self, buffer: &Buffer, words: impl ExactSizeIterator<Item = u64>) -> Result<(), OpenError> {
        let Some(size) = NonZeroU64::new(words.len() as u64 * 8) else { return Ok(()) };
        let mut view = self
            .queue
            .write_buffer_with(buffer, 0, size)
            .ok_or_else(|| OpenError::driver("writing a buffer", "no staging memory"))?;
        view.slice(..).into_chunks::<8>().0.write_iter(words.map(u64::to_le_bytes));
        Ok(())
    }
}

impl Buffers {
    /// Buffers of so many bytes for arena, messages and digests.
    fn new(
        device: &wgpu::Device,
        pipeline: &ComputePipeline,
        parameters: &Buffer,
        [arena_bytes, messages_bytes, digests_bytes]: [u64; 3],
    ) -> Self {
        let buffer = |label, size, usage| {
            device.create_buffer(&BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let input = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let arena = buffer("arena", arena_bytes, input);
        let messages = buffer("messages", messages_bytes, input);
        let digests = buffer("digests", digests_bytes, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
        let read_back = buffer("read back", digests_bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        let entry = |binding, buffer: &Buffer| (binding, buffer.clone()); // keeps the list below readable
        let bound = [entry(0, &arena), entry(1, &messages), entry(2, &digests), entry(3, parameters)];
        let entries: Vec<BindGroupEntry<'_>> = bound
            .iter()
            .map(|(binding, buffer)| BindGroupEntry {
                binding: *binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let layout = pipeline.get_bind_group_layout(0);
        let binding = device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &entries,
        });
        Self { arena, messages, digests, read_back, binding }
    }
}

impl Device for Gpu {
    fn hash(&mut self, region: &Region, job: Job, table: &[(u32, u32)]) -> Result<(), OpenError> {
        self.reserve(job)?;
        self.write(&self.buffers.arena, region.arena(0..job.arena_words))?;
        let entry = |&(start, length): &(u32, u32)| u64::from(start) | u64::from(length) << 32;
        self.write(&self.buffers.messages, table.iter().map(entry))?;
        let count = u32::try_from(job.count).expect("a checked count is small");
        self.queue.write_buffer(&self.parameters, 0, &count.to_le_bytes());

        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.buffers.binding, &[]);
            pass.dispatch_workgroups(count.div_ceil(WORKGROUP_SIZE), 1, 1);
        }
        let bytes = u64::from(count) * 32;
        encoder.copy_buffer_to_buffer(&self.buffers.digests, 0, &self.buffers.read_back, 0, bytes);
        self.queue.submit([encoder.finish()]);

        let (sender, receiver) = mpsc::channel();
        let read_back = &self.buffers.read_back;
        read_back.map_async(MapMode::Read, ..bytes, move |result| {
            let _ = sender.send(result);
        });
        self.device
            .poll(PollType::wait_indefinitely())
            .map_err(|error| OpenError::driver("waiting for the device", error))?;
        match receiver.recv_timeout(std::time::Duration::ZERO) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(OpenError::driver("reading the digests", error)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(OpenError::driver("reading the digests", "the device went away"));
            }
        }
        {
            let view = read_back
                .get_mapped_range(..bytes)
                .map_err(|error| OpenError::driver("reading the digests", error))?;
            for (index, digest) in view.as_chunks::<32>().0.iter().enumerate() {
                let (words, _) = digest.as_chunks::<8>();
                region.set_digest(index, [0, 1, 2, 3].map(|word: usize| u64::from_le_bytes(words[word])));
            }
        }
        read_back.unmap();
        Ok(())
    }
}
