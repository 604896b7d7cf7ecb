"""The order of the modules of each package: a module imports only from the lines above its own."""

STAGES = {
    "kgated": """
        argument_checks
        errors atomic_write optional_imports audio quantization_hook described_model
        builtin_functions
        pages keras_internals
        steps data framewise frame_trial report web finite_weights
        cells
        layers
        interop inspection training
        models
        optimize
        tuning
        signing
        deploy
        mixed_precision
        study
        compare search
        demos
        __main__
    """,
    "kgated.data": """
        splitting matching dataset_writer moments
        sequences
        example_data reading
        building
    """,
    "kgated.optimize": """
        masks centroids weights schedules
        clustering
        pruning qat
    """,
    "kgated.optimize.qat": """
        fake_quant elementwise
        activation_tables int8_arithmetic int16_arithmetic
        prepare forward
        quantizer
        point_search
        linear recurrent normalization
        layers
        model
    """,
    "kgated.deploy": """
        recipe tflite
        worker sequence tflm manifest_writer inspect
        streaming c
        lowering quantization
        verification
        text
        metadata from_qat target_sources
        other_backend
        convert
    """,
    "kgated.study": """
        storage tasks edge_check hyperparameters console
        chunks
        splits
        models fitting options results
    """,
    "kgated.compare": """
        candidate_models dynamics significance
        training
        candidate_study results
        measurement recommendation charts
        page
        run
    """,
    "kgated.search": """
        design
        measurement
        trials
        choice
        options
        report
        run
    """,
    "kgated_edge": """
        errors measure
        format verifier
        signing text
        native
        runtime
        events
        evaluation
        loadtest ingest
        recordings telemetry
        cli
        __main__
    """,
}
