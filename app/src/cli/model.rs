//! `bifocal model`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use bifocal_core::model::import::{ImportOptions, Imported, Source, import};
use bifocal_core::model::{
    Description, DeviceChoice, ModelConfig, PRESETS, WeightPrecision, describe, features_of_file, write_bundle,
};
use bifocal_core::report::iso_date;

/// Arguments of `bifocal model`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prints the layers of a network, its weights, multiplications and token grid.
    Describe(DescribeArgs),
    /// Makes a bundle of the weights of torchvision, Hugging Face or timm.
    Import(ImportArgs),
    /// Writes everything that a bundle's network computes for a tensor: logits, maps, tokens, attention.
    Features(FeaturesArgs),
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// Whose weights: torchvision, hf-vit, timm-vit, timm-hybrid, or bifocal. Once for each file, in their order.
    #[arg(long, required = true, value_name = "SOURCE")]
    from: Vec<Source>,
    /// Weights: safetensors, or PyTorch's .pth and .bin, of which nothing is executed.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Folder of the bundle.
    #[arg(long)]
    out: PathBuf,
    /// Configuration (TOML) of the network that the weights are put into; without it, the network is that of the weights.
    #[arg(long)]
    into: Option<PathBuf>,
    /// Side of the square input; positions are resampled where it is not the original's.
    #[arg(long, conflicts_with = "into")]
    input_size: Option<usize>,
    /// Attention heads; where not given, those of a `config.json` beside the file, else heads of 64 values.
    #[arg(long, conflicts_with = "into")]
    heads: Option<usize>,
    /// Seed of weights that no file has.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Store half precision: half the size, outputs differ in the third digit.
    #[arg(long)]
    half: bool,
}

#[derive(Debug, clap::Args)]
struct FeaturesArgs {
    /// Bundle: its id under `assets/models`, or its folder.
    model: String,
    /// Safetensors file with the tensor `input` (batch, channel, height, width), scaled as the network expects it.
    input: PathBuf,
    /// Safetensors file that is written.
    output: PathBuf,
    /// Where the network runs: auto, cpu, cuda or metal.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
}

#[derive(Debug, clap::Args)]
struct DescribeArgs {
    /// Configuration (TOML; a training configuration's `[model]` counts too), or a bundle by its id or folder.
    #[arg(required_unless_present = "preset")]
    config: Option<PathBuf>,
    /// A known network instead.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(PRESETS), conflicts_with = "config")]
    preset: Option<String>,
    /// One line a layer instead of one a block.
    #[arg(long)]
    layers: bool,
    /// Prints the configuration as TOML instead: a start for one of your own.
    #[arg(long, conflicts_with = "layers")]
    toml: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Describe(args) => run_describe(&args),
        Command::Import(args) => run_import(args),
        Command::Features(args) => {
            let bundle = super::open_bundle(&args.model, args.device)?;
            features_of_file(&bundle.network, &bundle.device, &args.input, &args.output)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run_import(args: ImportArgs) -> anyhow::Result<ExitCode> {
    if args.from.len() != args.files.len() {
        bail!("{} times --from for {} files", args.from.len(), args.files.len());
    }
    let names: Vec<String> =
        args.files.iter().filter_map(|file| file.file_name()?.to_str().map(str::to_owned)).collect();
    let files: Vec<(Source, PathBuf)> = args.from.into_iter().zip(args.files).collect();
    let options = ImportOptions {
        heads: args.heads,
        input_size: args.input_size,
        into: args.into.as_deref().map(read_config).transpose()?,
        seed: args.seed,
    };
    let imported = import(&files, &options)?;
    let id = args.out.file_name().and_then(|name| name.to_str()).context("--out: names no folder")?;
    let mut metadata = imported.metadata(id, &names.join(", "), &iso_date(SystemTime::now()));
    let precision = if args.half { WeightPrecision::Half } else { WeightPrecision::Single };
    write_bundle(&args.out, &mut metadata, &imported.weights, precision)?;
    print_import(&imported);
    println!("{}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn print_import(imported: &Imported) {
    println!("{} weights taken", imported.taken);
    if let Some(((rows, columns), (to_rows, to_columns))) = imported.resized {
        println!("positions resampled from {rows} x {columns} to {to_rows} x {to_columns}");
    }
    let list = |title: &str, names: &[String]| {
        if !names.is_empty() {
            println!("{title}: {}", names.len());
            names.iter().for_each(|name| println!("  {name}"));
        }
    };
    list("left over, which the network does not use", &imported.left_over);
    list("missing, now zero (biases) or random", &imported.missing);
}

fn run_describe(args: &DescribeArgs) -> anyhow::Result<ExitCode> {
    let config = match (&args.preset, &args.config) {
        (Some(name), _) => ModelConfig::preset(name).context("no such preset")?,
        (None, Some(file)) => read_config(file)?,
        (None, None) => bail!("name a configuration or a preset"),
    };
    if args.toml {
        print!("{}", toml::to_string(&config)?);
        return Ok(ExitCode::SUCCESS);
    }
    print_description(&config, &describe(&config)?, args.layers);
    Ok(ExitCode::SUCCESS)
}

/// A configuration from a TOML file, or from a bundle.
pub(super) fn read_config(file: &std::path::Path) -> anyhow::Result<ModelConfig> {
    let name = || file.display().to_string();
    if !file.is_file() && file.extension().is_none_or(|extension| extension != "toml") {
        let folder = bifocal_core::model::find_bundle(&name())?;
        return Ok(bifocal_core::model::read_metadata(&folder)?.config);
    }
    let text = std::fs::read_to_string(file).with_context(name)?;
    let table: toml::Table = toml::from_str(&text).with_context(name)?;
    match table.get("model") {
        Some(model) => model.clone().try_into().with_context(name),
        None => toml::from_str(&text).with_context(name),
    }
}

fn print_description(config: &ModelConfig, description: &Description, every_layer: bool) {
    println!("{:<44} {:>18} {:>14} {:>16}", "layer", "output", "weights", "multiplications");
    for row in rows(description, every_layer) {
        println!(
            "{:<44} {:>18} {:>14} {:>16}",
            row.name,
            sizes(&row.output),
            grouped(row.parameters),
            grouped(row.macs)
        );
    }
    println!();
    let side = config.input_size;
    println!("input         {} x {side} x {side}", config.input_channels());
    for (index, stage) in description.stages.iter().enumerate() {
        println!("stage {}       {}", index + 1, sizes(stage));
    }
    let (rows, columns) = description.grid;
    println!("token grid    {rows} x {columns}");
    let outputs = [("lesions", &config.lesions), ("organs", &config.organs), ("classes", &config.classes)];
    for (name, classes) in outputs.iter().filter(|(_, classes)| !classes.is_empty()) {
        println!("{name:<13} {}", classes.len());
    }
    println!("weights       {} ({:.2} M)", grouped(description.parameters), description.parameters as f64 / 1e6);
    let giga = description.macs as f64 / 1e9;
    println!("multiplications with addition, one image: {giga:.2} G (convolutions, linear layers, attention)");
}

struct Row {
    name: String,
    output: Vec<usize>,
    parameters: u64,
    macs: u64,
}

/// A row a layer, or a row for neighbouring layers of one block.
fn rows(description: &Description, every_layer: bool) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for layer in &description.layers {
        let name = if every_layer { layer.name.clone() } else { block(&layer.name) };
        match rows.iter_mut().find(|row| row.name == name) {
            Some(row) => {
                row.parameters += layer.parameters;
                row.macs += layer.macs;
                if !layer.output.is_empty() {
                    row.output.clone_from(&layer.output);
                }
            }
            None => {
                rows.push(Row { name, output: layer.output.clone(), parameters: layer.parameters, macs: layer.macs });
            }
        }
    }
    rows
}

/// The block of a layer: its name up to the last number, or without its last part.
fn block(layer: &str) -> String {
    let parts: Vec<&str> = layer.split('.').collect();
    let end = match parts.iter().rposition(|part| part.parse::<usize>().is_ok()) {
        Some(number) => number + 1,
        None => parts.len().clamp(1, 2),
    };
    parts[..end].join(".")
}

fn sizes(shape: &[usize]) -> String {
    if shape.is_empty() { "-".to_owned() } else { shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ") }
}

/// `1234567` as `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{block, grouped};

    #[test]
    fn layers_are_gathered_by_block() {
        assert_eq!(block("resnet.layer1.0.conv1"), "resnet.layer1.0");
        assert_eq!(block("interleaved.1.vit.blocks.3.mlp.fc1"), "interleaved.1.vit.blocks.3");
        assert_eq!(block("heads.lesion.merge"), "heads.lesion");
        assert_eq!(block("patch_embed.proj"), "patch_embed.proj");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(12), "12");
    }
}
