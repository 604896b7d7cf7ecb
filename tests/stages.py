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
    "kgated.deploy.quantization": """
        ranges
        rewrites scales
        quantizer_rules lstm
        checks finish job loops
        quantize
        worker_job
    """,
    "kgated.deploy.verification": """
        data compare trial range_coverage
        reference sessions
        accuracy golden
        targets
        evaluation_data target_choice float_proof layer_costs
        float_stage judge saved_data
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
