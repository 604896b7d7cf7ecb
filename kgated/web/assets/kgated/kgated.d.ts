/** Runs a streaming `.tflite` file of kgated in a browser: one frame per call, state carried. */

/** An error that the caller can do something about; its message says what. */
export class KgatedError extends Error {}

export type Numbers = ArrayLike<number>;

/** One frame or block of frames, flat; a number for a token; by name with several inputs. */
export type Frame = Numbers | number | Record<string, Numbers | number>;

/** The first output; by name with several outputs. */
export type Output = Float32Array | Record<string, Float32Array>;

export type StateArray = Float32Array | Int16Array | Int8Array;

export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32' | 'int16' | 'int8';
  readonly scale: number | null;
  readonly zero_point: number | null;
  readonly vocabulary: number | null;
}

/** The manifest of the file, as `kgated inspect --json` writes it; the entries used most. */
export interface Manifest {
  readonly mode: 'stream';
  readonly recipe: Readonly<Record<string, unknown>>;
  readonly frames: readonly TensorSpec[];
  readonly frames_per_step: number;
  readonly outputs: readonly TensorSpec[];
  readonly results_per_step: number;
  readonly state: 'external' | 'internal';
  readonly states: readonly TensorSpec[];
  readonly labels: readonly string[] | null;
  readonly sample_period_s: number | null;
  readonly threshold: number;
  readonly model: { readonly name: string; readonly sha256: string; readonly parameters: number };
  readonly front_end?: FrontEndSpec;
  /** By input, how text becomes its ids. */
  readonly vocabularies?: Readonly<Record<string, Vocabulary>>;
  readonly events?: EventSettings;
  readonly [entry: string]: unknown;
}

export interface SelftestResult {
  readonly passed: boolean;
  /** The largest absolute difference from the golden outputs. */
  readonly maxError: number;
  readonly tolerance: number;
  /** How many outputs were compared. */
  readonly results: number;
}

export interface LoadOptions {
  /** The folder of LiteRT.js's WebAssembly; else `litert/` beside the folder of this module. */
  readonly litert?: string | URL;
}

/**
 * Loads a model file and checks it.
 * @param source Its URL, or its bytes.
 * @throws KgatedError It does not run here; the message says why and what to do.
 */
export function load(
  source: string | URL | ArrayBuffer | Uint8Array,
  options?: LoadOptions,
): Promise<Model>;

/** A model with its state; made by `load`. */
export class Model {
  private constructor();
  readonly manifest: Manifest;
  /**
   * Runs one frame, or one block of `manifest.frames_per_step` frames, and updates the state.
   * @throws KgatedError Wrong size, NaN, inf, or no token; the state is as before.
   */
  step(frame: Frame): Output;
  /** Sets all states to zero, as at the start of a sequence. */
  reset(): void;
  /**
   * Whether no state holds NaN or inf, which a frame of huge numbers can cause: every later result
   * is NaN then, until `reset`. Needs external state.
   */
  get hasFiniteState(): boolean;
  /** A copy of each state by name, as stored; it can be assigned. Needs external state. */
  get state(): Record<string, StateArray>;
  set state(values: Readonly<Record<string, StateArray>>);
  /** Runs the golden frames of the file; resets before and after. */
  selftest(): SelftestResult;
  /** The golden frames, as arguments of `step`. */
  goldenSteps(): Frame[];
  /** Frees the memory of the model. */
  delete(): void;
}

/** How a text becomes ids; see the Python class of that name. */
export interface Vocabulary {
  readonly tokens: readonly string[] | readonly number[];
  readonly standardize: 'none' | 'lower' | 'strip_punctuation' | 'lower_and_strip_punctuation';
  readonly split: 'whitespace' | 'character' | 'none' | 'given';
  readonly unknown: number | null;
  readonly padding: number | null;
  readonly length: number | null;
}

/**
 * The ids of a text, one step each, as `kgated-edge encode` prints them.
 * @throws KgatedError A token that is not in a vocabulary without an id for unknown ones.
 */
export function encode(vocabulary: Vocabulary, text: string): Int32Array;

/** How audio becomes frames: `manifest.front_end`. */
export interface FrontEndSpec {
  readonly kind: 'log-mel' | 'mfcc' | 'pcen';
  readonly rate: number;
  readonly window: number;
  readonly hop: number;
  readonly mels: number;
  readonly low_hz: number;
  readonly high_hz: number | null;
  readonly coefficients: number | null;
  readonly pcen: Readonly<Record<string, number>> | null;
  readonly deltas: number;
  readonly mean: readonly number[] | null;
  readonly scale: readonly number[] | null;
}

/** The frames of audio that arrives in chunks. */
export class FrontEnd {
  constructor(spec: FrontEndSpec);
  /** Takes the next samples, at `spec.rate`; returns the frames that they complete. */
  push(samples: Int16Array): Float32Array[];
  reset(): void;
}

/** Changes the rate of audio that arrives in chunks. */
export class Resampler {
  /** @param source Samples per second of the input. @param target Those of the output. */
  constructor(source: number, target: number);
  push(samples: Int16Array): Int16Array;
  finish(): Int16Array;
}

export interface ClassThreshold {
  readonly on: number;
  readonly off: number;
  readonly priority: number;
}

export interface EventSettings {
  readonly smoothing: 'mean' | 'exponential';
  readonly smoothing_s: number;
  readonly min_duration_s: number;
  readonly refractory_s: number;
  readonly score: 'output' | 'reconstruction' | 'prediction';
  readonly background: readonly string[];
  readonly default: ClassThreshold;
  readonly classes: Readonly<Record<string, ClassThreshold>>;
}

/** One event; times are seconds from the first step. */
export interface Event {
  readonly label: string;
  readonly start_s: number;
  readonly end_s: number;
  readonly peak_s: number;
  readonly score: number;
  readonly detected_s: number;
}

/** Finds events in scores per step. */
export class EventDetector {
  constructor(labels: readonly string[], stepSeconds: number, settings?: EventSettings);
  /** Takes one score per label; returns the events that ended with this step. */
  step(scores: Numbers): Event[];
  /** The event that is detected and has not ended. */
  get openEvent(): Event | null;
  /** The open event, as if it ended now; then as after `reset`. */
  finish(): Event[];
  reset(): void;
}
